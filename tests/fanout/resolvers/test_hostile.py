"""Resolvers that mean harm, in a sandbox: each costs its own call one clear failure, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanout.resolvers.rewriter import rewrite_module
from fanout.resolvers.sandbox import Limits, ResourceLimitExceeded, Sandbox, SandboxError
from tests.fanout.resolvers.running import answer_itself, call, load


def run(code: str, handler: str = "request") -> dict[str, Any]:
    return call(f"function request(ctx) {{ {code} }}", {"a": 1}, handler)


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("for (;;) {}", "time"),
        ("try { for (;;) {} } catch (e) {} finally { for (;;) {} }", "time"),
        ("return { toJSON() { for (;;) {} } }", "time"),
        ("return { get a() { for (;;) {} } }", "time"),
        ("throw { toString() { for (;;) {} } }", "time"),
        ("util.error({ toJSON() { for (;;) {} } })", "time"),
        ("const e = new Error(); Object.defineProperty(e, 'stack', { get() { for (;;) {} } }); throw e", "time"),
        ("console.log({ toJSON() { for (;;) {} } })", "time"),
        ("[1, 2].sort(() => { for (;;) {} })", "time"),
        ("'aaa'.replace(/a/g, () => { for (;;) {} })", "time"),
        (r"/^(([a-z])+.)+[A-Z]([a-z])+$/.test('a'.repeat(50))", "time"),
        (
            "let s = 'x'.repeat(1 << 20); const all = []; for (let i = 0; ; i++) all.push(s + i + '\\u0100')",
            "time|memory",
        ),
        ("const m = new Map(); for (let i = 0; ; i++) m.set(i, [i])", "time|memory"),
        ("return new Array(1e7).fill(1)", "memory"),
        ("const o = {}; o.o = { valueOf() { return o + 1 } }; const f = () => [f()]; f()", "stack"),
        ("let a = []; for (let i = 0; i < 1e4; i++) a = [a]; return a", "stack"),
        ("JSON.parse('['.repeat(1e6))", "stack"),
        ("const r = () => { try { r() } finally { r() } }; r()", "time|stack"),
    ],
)
def test_limits_hold(code: str, limit: str) -> None:
    with pytest.raises(ResourceLimitExceeded, match=limit):
        run(code)


# What is left when it fails depends on the sizes: there may be too little even for an error.
@pytest.mark.parametrize("item", ["{}", *(f"'x'.repeat({size}) + all.length" for size in (99, 999, 9999, 99999))])
def test_memory_holds_out_to_the_last_byte(item: str) -> None:
    code = f"const request = () => {{ const all = []; for (;;) all.push({item}) }};\nreturn {{ request }};"
    # Sixteen mebibytes may take longer to fill than a call has.
    with pytest.raises(ResourceLimitExceeded, match="memory"):
        load(code, time_ms=2000).call("request", "{}")


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("const a = {}; a.a = a; return a", "TypeError: what request returned is no JSON: circular reference"),
        ("return 1n", "TypeError: what request returned is no JSON: BigInt are forbidden in JSON.stringify"),
        ("return () => 1", "TypeError: what request returned is no JSON, but a function"),
        ("return Symbol('x')", "TypeError: what request returned is no JSON, but a symbol"),
        ("return { toJSON() { return undefined } }", "TypeError: what request returned is no JSON, but an object"),
        ("return { toJSON() { null.x } }", "TypeError: cannot read property 'x' of null"),
        ("return { get a() { throw new RangeError('no') } }", "RangeError: no"),
        ("return { toJSON() { throw 0 } }", "thrown: 0"),
        ("let s = 'x'; for (;;) s += s", "InternalError: string too long"),
        ("ctx.stash.f = 1n", "TypeError: ctx.stash is no JSON: BigInt are forbidden in JSON.stringify"),
        ("ctx.stash = () => 1", "TypeError: ctx.stash is no JSON, but a function"),
        ("Object.defineProperty(ctx, 'stash', { get() { throw 7 } })", "thrown: 7"),
        ("throw undefined", "thrown: undefined"),
        ("throw Symbol('x')", "thrown: Symbol(x)"),
        ("throw { toString() { throw 'again' } }", "thrown: again"),
        ("throw { toString() { throw this } }", "what was thrown cannot be told"),
        ("throw Object.create(null)", "TypeError: "),
        ("const e = new Error('m'); e.stack = 'at mine'; throw e", "Error: m"),
        (
            "const e = new RangeError(); Object.defineProperty(e, 'message', { get() { throw 1 } }); throw e",
            "thrown: 1",
        ),
        ("util.error({ toJSON() { throw 2 } })", "thrown: 2"),
        ("util.error('m', 't', 1n)", "TypeError: the error is no JSON"),
        ("util.appendError('m', 't', { toJSON() { throw 3 } })", "thrown: 3"),
        ("runtime.earlyReturn(1n)", "TypeError: what was returned early is no JSON"),
        ("const f = async () => 1; return f()", "TypeError: request is asynchronous; resolvers cannot be"),
        ("ctx.info = null; util.unauthorized()", "TypeError: "),
        ("throw new InternalError('anything\\nv{}')", "InternalError: anything\nv{}"),
    ],
)
def test_what_cannot_be_told_is_one_failure(code: str, failure: str) -> None:
    envelope = run(code)
    assert "value" not in envelope
    assert envelope["failure"].startswith(failure), envelope


@pytest.mark.parametrize("code", ["throw null", "return { toJSON() { throw null } }"])
def test_null_thrown_is_taken_for_a_lack_of_memory(code: str) -> None:
    sandbox = load(f"const request = (ctx) => {{ {code} }};\nreturn {{ request }};")
    with pytest.raises(ResourceLimitExceeded, match="memory"):
        sandbox.call("request", "{}")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return undefined", None),
        ("return { a: undefined, f() {}, b: [() => 1, undefined] }", {"b": [None, None]}),
        ("return '\\ud800'", "\ufffd"),
        ("return { '\\udfff': 'a\\\\ud800\\ud83d\\ude00' }", {"\ufffd": "a\\ud800\U0001f600"}),
        ("return '\\0\\n\\u2028'", "\0\n\u2028"),
        ("return 1 / 0", None),
        ("return 'x'.repeat(3000) + ctx.args.a", "x" * 3000 + "1"),
        ("try { util.error('no') } catch (e) { return 'caught' }", "caught"),
        ("const all = []; try { for (;;) all.push('x'.repeat(1e5)) } catch (e) { return e.message }", "out of memory"),
        ("return ctx.__auth", None),
    ],
)
def test_what_can_be_told(code: str, value: object) -> None:
    assert run(code)["value"] == value


def test_a_result_has_its_greatest_size() -> None:
    sandbox = load("const request = () => 'x'.repeat(6e6);\nreturn { request };", memory_bytes=1 << 26)
    assert sandbox.call("request", "{}")["failure"] == "RangeError: what request returned is larger than 5 MB"


def test_an_answer_is_had_although_the_question_was_caught() -> None:
    code = """
    const all = [];
    for (let i = 0; i < 3; i++) {
        try { all.push(util.transform.toSubscriptionFilter({ a: { eq: i } })) } catch (e) { all.push(0) }
    }
    return all.length
    """
    assert run(code)["value"] == 3


@pytest.mark.parametrize(
    "code",
    [
        "Array.prototype.x = 1",
        "Object.getPrototypeOf(function* () {}).x = 1",
        "Object.getPrototypeOf(function* () {}.prototype).x = 1",
        "Object.getPrototypeOf([].values()).x = 1",
        "Object.getPrototypeOf([].values().map((a) => a)).x = 1",
        "Object.getPrototypeOf(new Map().entries()).x = 1",
        "Object.getPrototypeOf(''.matchAll(/a/g)).x = 1",
        "Object.getPrototypeOf(async () => {}).x = 1",
        "(async () => {})().constructor.x = 1",
        "(async () => {})().constructor.prototype.x = 1",
        "Object.prototype.toString = 1",
        "Object.prototype.__proto__ = {}",
        "try { util.error('') } catch (e) { e.constructor.x = 1 }",
        "try { util.error('') } catch (e) { e.constructor.prototype.x = 1 }",
        "try { runtime.earlyReturn() } catch (e) { Object.getPrototypeOf(e).x = 1 }",
        "util.x = 1",
        "util.transform.x = 1",
        "util.error.x = 1",
        "console.x = 1",
        "globalThis.x = 1",
        "x = 1",
        "(() => {}).constructor.x = 1",
        "(() => {}).constructor('return 1')",
        "(function* () {}).constructor('return 1')",
        "(async () => {}).constructor('return 1')",
        "Reflect.construct(Object.getPrototypeOf(() => 0).constructor, ['return 1'])",
        "Date.now()",
        "Atomics.load",
        "eval('1')",
        "new Proxy({}, {})",
        "new SharedArrayBuffer(8)",
        "Promise.resolve()",
        "Array.fromAsync([])",
        "require('fs')",
        "process.env",
        "fetch('http://localhost')",
        "setTimeout(() => {})",
    ],
)
def test_nothing_shared_can_be_reached_or_changed(code: str) -> None:
    envelope = run(f"{code}; return 'done'")
    assert envelope.get("value") != "done"
    assert "failure" in envelope


def test_settings_behind_accessors_are_gone() -> None:
    code = "Error.prepareStackTrace = () => 1"
    assert "failure" in run(code)
    assert "failure" in run("Error.stackTraceLimit = 0")


def test_what_the_body_can_see_of_its_maker_is_frozen() -> None:
    for code in ("given[0].x = 1", "given[1].x = 1", "given[0]().x = 1"):
        sandbox = load(f"const given = arguments; return {{ request: () => {{ {code} }} }};")
        assert "failure" in sandbox.call("request", "{}")


@pytest.mark.parametrize(
    "code",
    [
        "const o = {}; o.toString = () => 'mine'; return `${o}`",
        "const o = {}; o['constructor'] = 'mine'; return o.constructor",
        "const o = { a: 1 }; o.hasOwnProperty = 'mine'; return o.hasOwnProperty",
        "const a = []; a.map = 'mine'; return a.map",
        "const e = new TypeError('x'); e.message = 'mine'; return e.message",
        "class E extends Error { constructor() { super(); this.name = 'mine' } } return new E().name",
        "const o = Object.create({}); o.valueOf = 'mine'; return Object.keys(o).length === 1 && o.valueOf",
        "function F() {} F.prototype.toString = () => 'mine'; return String(new F())",
        "const o = {}; for (const k of ['toString']) o[k] = 'mine'; return JSON.parse(JSON.stringify(o)).toString",
    ],
)
def test_a_resolvers_own_objects_can_be_written_to(code: str) -> None:
    assert run(code)["value"] == "mine"


def test_a_frozen_object_stays_as_it_is() -> None:
    assert "failure" in run("Object.freeze({}).toString = 1; return 1")
    assert "failure" in run("Object.create(null).toString(); return 1")


def test_top_levels_are_bounded_too() -> None:
    for source in ("while (true) {}", "const f = () => f(); f()", "const a = new Array(1e7).fill(1)"):
        with pytest.raises(ResourceLimitExceeded):
            Sandbox(rewrite_module(source, "a.js"), Limits(), answer_itself)


def test_calls_see_nothing_of_each_other() -> None:
    code = """
    const seen = new Map(); let last = null; class Counter { static count = 0 }
    const request = (ctx) => {
        const before = [seen.size, last, Counter.count, /a/g.lastIndex];
        seen.set(ctx.args.a, ctx); last = ctx.args.a; Counter.count++;
        return before;
    };
    return { request };
    """
    sandbox = load(code)
    for number in range(3):
        assert sandbox.call("request", orjson.dumps({"arguments": {"a": number}}).decode())["value"] == [0, None, 0, 0]


@pytest.mark.parametrize(
    "code",
    [
        "(async () => { await 1 })();",
        "(async () => { await 1; for (;;) {} })();",
        "(async () => { throw 1 })().then?.(() => 1, () => 2);",
        "(async function* () { yield 1 })().next();",
        "const again = async () => { await 1; again() }; again();",
    ],
)
def test_what_goes_on_after_a_call_is_refused(code: str) -> None:
    with pytest.raises(SandboxError, match="awaits"):
        load(f"const request = () => {{ {code} return 1 }};\nreturn {{ request }};").call("request", "{}")
    with pytest.raises(SandboxError, match="awaits"):
        load(f"{code}\nreturn {{ request: () => 1 }};")


def test_garbage_of_calls_is_collected() -> None:
    loop = "for (let i = 0; i < 1000; i++) { const o = { a }; o.o = o; a.push(o) }"
    sandbox = load(f"const request = () => {{ const a = []; {loop} return 1 }};\nreturn {{ request }};")
    for _ in range(300):
        assert sandbox.call("request", "{}")["value"] == 1
