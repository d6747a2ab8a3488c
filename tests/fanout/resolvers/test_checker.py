"""Modules are checked in a process that can be ended."""

from __future__ import annotations

import io

import orjson
import pytest

from fanout.errors import ConfigurationError
from fanout.resolvers.checker import check_all, check_apart
from fanout.resolvers.rewriter import ModuleError, rewrite_module
from fanout.resolvers.sandbox import Limits

GOOD = "export function request(ctx) { return {}; }\nexport const response = (ctx) => 1;\nexport const n = 1;\n"
ASKING = """import { util } from '@aws-appsync/utils';
const ZONE = util.time.nowFormatted('VV', 'Europe/Berlin');
export const request = () => ZONE;
"""


def rewrite(**modules: str) -> dict[str, str]:
    return {f"{name}.js": rewrite_module(source, f"{name}.js") for name, source in modules.items()}


def test_handlers_are_told_by_file() -> None:
    found = check_apart(rewrite(a=GOOD, b="export const response = () => 1", asks=ASKING), Limits(time_ms=1000))
    assert found == {"a.js": {"request", "response"}, "b.js": {"response"}, "asks.js": {"request"}}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("const a = 1;\nlet b = ;", r"^bad\.js:2:9: SyntaxError: unexpected token in expression: ';'$"),
        (f"{GOOD}nothing.here;", r"^bad\.js:4:\d+: ReferenceError: nothing is not defined$"),
        (f"{GOOD}while (true);", r"^bad\.js: the module's top level exceeds its time limit$"),
        # Cannot be interrupted by QuickJS: it took 200 s.
        (f"{GOOD}Array(4e9).join('');", r"^bad\.js: the module's top level exceeds its time limit$"),
    ],
)
def test_the_module_that_fails_is_named(source: str, text: str) -> None:
    with pytest.raises(ModuleError, match=text):
        check_apart(rewrite(good=GOOD, bad=source, other=GOOD), Limits())


def test_nothing_is_checked_after_the_first_mistake() -> None:
    out = io.BytesIO()
    bodies = rewrite(good=GOOD, bad="x;", other=GOOD)
    limits = {"time_ms": 25, "memory_bytes": 1 << 24, "stack_bytes": 1 << 18}
    check_all({"limits": limits, "bodies": bodies}, out)
    first, second = (orjson.loads(line) for line in out.getvalue().splitlines())
    assert first == {"handlers": ["request", "response"]}
    assert second["error"][1:] == [1, 1]


def test_a_process_that_cannot_be_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/none")
    with pytest.raises(ConfigurationError, match="the resolvers cannot be checked"):
        check_apart(rewrite(a=GOOD), Limits())
