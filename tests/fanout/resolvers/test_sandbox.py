"""One module in its context: handlers, envelopes, limits."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.resolvers.sandbox import LimitExceeded, Limits, Sandbox, SandboxError
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


@pytest.mark.parametrize(
    ("options", "skip_to"), [("", None), (', { skipTo: "NEXT" }', "NEXT"), (', { skipTo: "END" }', "END")]
)
def test_an_early_return_says_where_it_goes_on_if_it_was_asked_to(options: str, skip_to: str | None) -> None:
    envelope = call(f"function request() {{ runtime.earlyReturn(1{options}); }}")
    assert (envelope["value"], envelope["early"]) == (1, skip_to)


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


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("while (true) {}", "time"),
        ("/(a+)+$/.test('a'.repeat(40) + 'b')", "time"),
        ("const all = []; while (true) all.push('x'.repeat(9999) + all.length);", "memory"),
        # What is left when it fails depends on the sizes: there may be too little even for an error.
        *(
            (f"const all = []; while (true) all.push('x'.repeat({size}) + all.length);", "memory")
            for size in (99, 999, 99999)
        ),
        ("const all = []; while (true) all.push({});", "memory"),
        ("const f = () => f() + 1; f();", "stack"),
    ],
)
def test_limits_hold(code: str, limit: str) -> None:
    # Sixteen mebibytes may take longer to fill than a call has.
    time_ms = 2000 if limit == "memory" else 25
    sandbox = load(f"const request = () => {{ {code} }};\nreturn {{ request }};", time_ms=time_ms)
    with pytest.raises(LimitExceeded, match=limit):
        sandbox.call("request", '{"arguments": {}}')


def test_nothing_is_left_by_a_call_for_the_next() -> None:
    sandbox = load("let count = 0;\nconst request = () => (count += 1);\nreturn { request };")
    assert [sandbox.call("request", "{}")["value"] for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("code", ["globalThis.x = 1", "x = 1", "Array.prototype.x = 1", "util.error = 1"])
def test_what_is_shared_cannot_be_changed(code: str) -> None:
    assert "failure" in call(f"function request() {{ {code}; }}")


@pytest.mark.parametrize("name", ["Date.now()", "eval('1')", "Atomics.load"])
def test_clock_chance_and_code_from_text_are_not_there(name: str) -> None:
    assert "failure" in call(f"function request() {{ return {name}; }}")


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
