# Everything runs from .venv; `make setup` makes it from the locked requirements. See README.md.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup run test check conformance faults soak fuzz loadtest bench million bench-matching lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Install everything into .venv

$(STAMP): requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## Serve the chat API of examples/chat with its resolvers on http://127.0.0.1:8080, with an embedded Valkey
	$(BIN)/fanout serve --config examples/chat/fanout.toml

test: setup ## Run the tests (Python only, under 5 minutes on 2 cores)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not conformance and not faults"

check: setup ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

conformance: setup ## Run clients, bundles and AWS's linter, which need Node, against served processes
	cd tests/conformance && npm ci --no-audit --no-fund
	$(BIN)/python -m pytest -m conformance tests/conformance

faults: setup ## Kill, stop and cut off processes under load, and reconcile every event for every subscriber
	$(BIN)/python -m pytest -m faults tests/faults

soak: setup ## Random faults for MINUTES (20), from SEED (printed if not given), every event reconciled; CLUSTER=1
	$(BIN)/python -m tests.faults.soak $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(CLUSTER),--cluster)

fuzz: setup ## Fuzz everything that parses bytes from clients for MINUTES= (default 15); SEED= to run one again
	$(BIN)/python -m tests.fuzz $(or $(MINUTES),15) $(SEED)

loadtest: setup ## Run locust headless against a service of its own for a short time
	$(BIN)/python -m loadtest.headless

bench: setup ## Measure against the targets of docs/performance.md; ARGS="--only rooms" for one scenario
	$(BIN)/python -m loadtest.bench $(ARGS)

million: setup ## Hold a million subscribed connections on this machine; ARGS="--connections 100000" for fewer
	$(BIN)/python -m loadtest.million $(ARGS)

bench-matching: setup ## Measure the filter index with up to 1,000,000 filters, record it and draw docs/performance/matching.svg
	$(BIN)/python -m tests.bench.measure_filters 1000 10000 100000 1000000 --json docs/performance/matching.json
	$(BIN)/python -m tests.bench.draw_matching

lock: ## Resolve the requirements anew (needs uv)
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/run.txt
	uv pip compile pyproject.toml --universal --generate-hashes --no-emit-index-url --no-header --no-annotate -q -c requirements/run.txt --extra loadtest --group dev -o requirements/dev.txt
	echo "hatchling>=1.27" | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o requirements/build.txt

clean: ## Remove what setup made
	rm -rf .venv tests/conformance/node_modules .fanout
