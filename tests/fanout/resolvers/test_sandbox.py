"""One module in its context: handlers, envelopes, questions. What means harm is in test_hostile.py."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fanout.resolvers.sandbox import Limits, ResourceLimitExceeded, Sandbox, SandboxError
from tests.fanout.resolvers.running import answer_itself, call, load


def test_a_handler_gets_its_context_and_returns_json() -> None:
    envelope = call("function request(ctx) { ctx.stash.seen = true; return { payload: ctx.args.id }; }", {"id": 7})
    assert (envelope["value"], envelope["stash"]) == ({"payload": 7}, {"seen": True})


def test_the_library_needs_no_import() -> None:
    functions = "[util.autoId, extensions.setSubscriptionFilter, runtime.earlyReturn]"
    body = f"const request = () => {functions}.map((value) => typeof value);"
    for taken in ("", 'const util = { autoId() {} }, { extensions } = __import("@aws-appsync/utils");'):
        sandbox = Sandbox(f"{taken}\n{body}\nreturn {{ request }};", Limits(), answer_itself)
        assert sandbox.call("request", "{}")["value"] == ["function"] * 3


def test_chance_and_json_are_as_appsync_has_them() -> None:
    drawn = call("const request = () => [Math.random(), Math.random(), util.math.randomDouble()];")["value"]
    assert len(set(drawn)) == 3
    assert all(0 <= value < 1 for value in drawn)
    parsed = call("const request = () => ['{\"a\":[1]}', 'nonsense', '', undefined].map((text) => JSON.parse(text));")
    assert parsed["value"] == [{"a": [1]}, "", "", ""]
    thrown = call("const request = () => JSON.parse('1', () => { null.x; });")
    assert thrown["failure"].startswith("TypeError: cannot read property 'x' of null")
    assert call("const request = () => { JSON.parse = null; };")["failure"].startswith("TypeError")


def test_how_the_caller_was_let_in_is_no_part_of_the_context() -> None:
    sandbox = load("return { request: (ctx) => Object.keys(ctx) };")
    assert sandbox.call("request", '{"arguments": {}, "__auth": "AWS_IAM"}')["value"] == ["arguments", "args"]


def test_both_stages_run_at_once_where_nothing_is_fetched() -> None:
    code = "function request(ctx) { return { payload: { id: ctx.args.id } }; } const response = (ctx) => ctx.result.id;"
    assert call(code, {"id": "a"}, "unit")["value"] == "a"


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ("{ operation: 'GetItem', key: {} }", 'operation "GetItem"'),
        ("{ operation: 'Invoke', payload: 1 }", 'operation "Invoke"'),
        ("{ method: 'GET', resourcePath: '/a' }", 'resourcePath "/a"'),
        ("{ statements: ['select 1'] }", "statements"),
        ("{ version: '2018-05-29', payload: { operation: 'x' } }", None),
        ("'operation'", None),
        ("null", None),
    ],
)
def test_a_request_that_was_meant_for_another_data_source_is_told(request_: str, named: str | None) -> None:
    envelope = call(f"const request = () => ({request_}), response = (ctx) => ctx.result", handler="unit")
    warning = f"the request has {named}, which the data source NONE ignores: set data_source for this module"
    assert envelope["logs"] == ([["warn", warning]] if named else [])


def test_what_a_resolver_says_to_be_wrong_is_told_apart_from_what_it_throws() -> None:
    said = call('function request() { util.error("No", "Refused", { a: 1 }, [2]); }')
    assert said["error"] == {"message": "No", "type": "Refused", "data": {"a": 1}, "info": [2]}
    thrown = call("function request(ctx) {\n  return ctx.nothing.here;\n}")
    assert "error" not in thrown
    assert thrown["failure"] == "TypeError: cannot read property 'here' of undefined"
    assert "at request (<input>:6:" in thrown["stack"]


def test_a_module_that_does_not_compile_is_refused() -> None:
    with pytest.raises(SandboxError, match=r"SyntaxError.*\n.*:6:9"):
        load("let a = 1;\nlet b = ;")


def test_a_modules_top_level_may_ask_and_draw() -> None:
    def answer(question: list[Any]) -> dict[str, Any]:
        return {"value": {"first": [3600, "X"], "transitions": []}}

    code = "const zone = util.time.nowFormatted('z', 'A/a');\nconst id = util.autoId();"
    sandbox = load(f"{code}\nconst request = () => [zone, id];\nreturn {{ request }};", answer)
    first, second = (sandbox.call("request", "{}")["value"] for _ in range(2))
    assert first[0] == "X"
    assert first != second


def test_a_modules_top_level_that_says_an_error_is_refused() -> None:
    with pytest.raises(SandboxError, match="the module's top level says: no"):
        load("util.error('no');\nreturn {};")
    with pytest.raises(SandboxError, match="the module's top level says: no such zone"):
        load("util.time.nowFormatted('z', 'A/a');\nreturn {};", lambda question: {"error": "no such zone"})


def test_all_that_is_asked_is_answered_within_the_time_of_one_call() -> None:
    def answer_slowly(question: list[Any]) -> dict[str, Any]:
        until = time.process_time() + 0.025
        while time.process_time() < until:
            pass
        return {"value": {"filterGroup": []}}

    ask = "util.transform.toSubscriptionFilter({ a: { eq: 1 } })"
    sandbox = load(f"const request = () => {ask};\nreturn {{ request }};", answer_slowly)
    with pytest.raises(ResourceLimitExceeded, match="time"):
        sandbox.call("request", "{}")
    with pytest.raises(ResourceLimitExceeded, match="time"):
        load(f"{ask};\nreturn {{}};", answer_slowly)


def test_a_call_asks_as_much_as_its_time_allows() -> None:
    code = "const request = () => Array.from({ length: 99 }, (_, at) => util.time.nowFormatted('z', `A/${at}`)).length;"
    sandbox = load(
        f"{code}\nreturn {{ request }};", lambda _: {"value": {"first": [0, "X"], "transitions": []}}, time_ms=5000
    )
    assert sandbox.call("request", "{}")["value"] == 99
