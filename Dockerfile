# One process per container: a gateway with exactly what requirements/run.txt locks.

FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements requirements
# What builds the wheel goes into this stage's own Python, what runs it into the environment that is copied on.
RUN pip install --require-hashes --only-binary=:all: -r requirements/build.txt \
 && python -m venv /opt/fanout \
 && /opt/fanout/bin/pip install --require-hashes --only-binary=:all: -r requirements/run.txt
# After the dependencies, whose layer is kept until the lock changes.
COPY pyproject.toml README.md LICENSE ./
COPY filters filters
COPY fanout fanout
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/fanout/bin/pip install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Fanout" \
      org.opencontainers.image.description="Self-hosted real-time GraphQL: AWS AppSync subscriptions as a Python service" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/fanout/bin:$PATH PYTHONUNBUFFERED=1
COPY --from=build /opt/fanout /opt/fanout
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/fanout fanout
USER 10001
# Where `--tls-dev` and the embedded Valkey keep their files.
WORKDIR /var/lib/fanout
EXPOSE 8080
# Asks the port that the default command listens on; give another check when you change it or turn on TLS.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# Fanout drains its clients on SIGTERM, which is what stops a container.
CMD ["fanout", "serve", "--host", "0.0.0.0"]
