"""Figures of resolvers, for people: `python -m tests.bench.measure_resolvers` prints Markdown.

What a call takes alone and through the processes, what a context takes, and what everybody else notices while hostile
resolvers are called as often as they are answered. Not a test and never asserted; figures depend on the machine, and
latencies on what else it does: the first row of the second table says what they are without anybody hostile.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvloop

from fanout.resolvers.pool import Pool
from fanout.resolvers.rewriter import rewrite_module
from fanout.resolvers.sandbox import Limits, Sandbox
from loadtest.measure import read_resident_bytes
from tests.served import API_KEY, PUBLISHER_KEY, Served, connect_appsync, serve, wait_until

CALLS, CONTEXTS, CONCURRENT = 20_000, 100, 100
HOSTILE_CLIENTS, SECONDS, PAUSE_SECONDS = 8, 10.0, 0.01
IMPORT = "import { util } from '@aws-appsync/utils';\n"
TRIVIAL = IMPORT + (
    "export function request(ctx) { return { payload: ctx.args }; }\n"
    "export function response(ctx) { return ctx.result; }\n"
)
USUAL = IMPORT + (
    "export function request(ctx) {\n"
    "  const { roomId, content } = ctx.args.input;\n"
    "  if (!content.trim()) util.error('content is empty', 'Invalid');\n"
    "  return { payload: { id: util.autoId(), roomId, content: content.trim(), at: util.time.nowISO8601() } };\n"
    "}\n"
    "export function response(ctx) { return ctx.result; }\n"
)
HOSTILE = {
    "loops": "for (;;) {}",
    "regular expressions": "/^(a+)+$/.test('a'.repeat(40) + 'b')",
    "allocation": "const all = []; for (;;) all.push([all.length])",
    "loops in native code": "Array(4e9).join('')",
    "large results": "return 'x'.repeat(4e6)",
}
CONTEXT: dict[str, Any] = {
    "arguments": {"input": {"roomId": "a", "content": " hello "}},
    "identity": {"sub": "9f1c", "claims": {str(number): number for number in range(10)}, "groups": ["staff"]},
    "source": None,
    "stash": {},
    "info": {"fieldName": "createMessage", "parentTypeName": "Mutation", "variables": {}},
    "request": {"headers": {"host": "localhost", "user-agent": "measure"}},
}
NAMES = {name: f"hostile{number}" for number, name in enumerate(HOSTILE)}
SDL = f"""
type Message {{ id: ID! }}
type Query {{ {" ".join(f"{field}: String" for field in NAMES.values())} kind: String }}
type Mutation {{ send(id: ID!): Message }}
type Subscription {{ onSend: Message @aws_subscribe(mutations: ["send"]) }}
"""


def main() -> None:
    """Measure and print."""
    print("| what | figure |\n|---|---|")
    measure_sandbox()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure_pool())
    print("\n| hostile calls | errors/s | deliveries: median, 99 %, max | other resolvers: median, 99 %, max |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as path:
        write_api(Path(path))
        with serve("--config", "fanout.toml", directory=Path(path)) as served:
            wait_until(lambda: "errors" not in httpx.post(**make_request(served, "{ kind }"), timeout=60).json())
            for name in ("none", *HOSTILE):
                asyncio.run(measure_isolation(served, name))


def write_api(directory: Path) -> None:
    (directory / "api.graphql").write_text(SDL)
    (directory / "resolvers").mkdir()
    for name, code in HOSTILE.items():
        text = f"export const request = () => {{ {code} }};\nexport const response = () => null;\n"
        (directory / "resolvers" / f"Query.{NAMES[name]}.js").write_text(text)
    kind = "export const request = () => ({ payload: 'kind' });\nexport const response = (ctx) => ctx.result;\n"
    (directory / "resolvers" / "Query.kind.js").write_text(kind)
    (directory / "fanout.toml").write_text('schema = "api.graphql"\nresolvers = "resolvers"\n')


def measure_sandbox() -> None:
    context = orjson.dumps(CONTEXT).decode()
    for name, source in (("trivial", TRIVIAL), ("usual", USUAL)):
        body = rewrite_module(source, "a.js")
        sandbox = Sandbox(body, Limits(), refuse)
        took_us = take_time(lambda sandbox=sandbox: sandbox.call_text("unit", context), CALLS) * 1e6  # type: ignore[misc]
        print(f"| request and response of a {name} resolver, in the sandbox | {took_us:.1f} us |")
    body = rewrite_module(USUAL, "a.js")
    gc.collect()
    before = read_resident_bytes(os.getpid())
    kept: list[Sandbox] = []
    took_ms = take_time(lambda: kept.append(Sandbox(body, Limits(), refuse)), CONTEXTS) * 1e3
    taken_kb = (read_resident_bytes(os.getpid()) - before) / CONTEXTS / 1024
    print(f"| a context | {took_ms:.1f} ms, {taken_kb:.0f} KB |")
    bundle = USUAL + "\n".join(f"const f{n} = (a) => a.replace(/x{n}/g, `${{a}}`) + '{n}';" for n in range(5000))
    took_ms = take_time(lambda: rewrite_module(bundle, "a.js"), 3) * 1e3
    print(f"| a module of {len(bundle) / 1024:.0f} KB made ready to run | {took_ms:.0f} ms |")


async def measure_pool() -> None:
    body = rewrite_module(USUAL, "a.js")
    pool = Pool({str(number): body for number in range(CONTEXTS)}, Limits(), 2, 20_000)
    began = time.perf_counter()
    pool.start()
    await pool.call("0", "unit", CONTEXT)
    print(f"| from the start to the first answer | {(time.perf_counter() - began) * 1e3:.0f} ms |")
    for number in range(CONTEXTS):  # no process makes contexts meanwhile
        await pool.call(str(number), "unit", CONTEXT)
    await asyncio.sleep(CONTEXTS * 0.05)
    took = []
    for _ in range(2000):
        began = time.perf_counter()
        await pool.call("0", "unit", CONTEXT)
        took.append(time.perf_counter() - began)
    print(f"| a call through the pool, one after the other | {statistics.median(took) * 1e6:.0f} us |")

    async def call(number: int) -> None:
        for _ in range(CALLS // CONCURRENT):
            await pool.call(str(number % CONTEXTS), "unit", CONTEXT)

    began, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(call(number) for number in range(CONCURRENT)))
    took_s, busy_us = time.perf_counter() - began, (time.process_time() - busy) / CALLS * 1e6
    print(f"| calls of {CONCURRENT} at once | {CALLS / took_s:,.0f}/s, {busy_us:.0f} us of the gateway each |")
    sizes = [read_resident_bytes(pid) / 1024 / 1024 for pid in pool.pids]
    print(f"| a process with {CONTEXTS} modules | {max(sizes):.0f} MB |")
    await pool.close()


async def measure_isolation(served: Served, name: str) -> None:
    """What a subscriber and a caller of another resolver see while hostile calls are made without a pause."""
    limits = httpx.Limits(max_connections=HOSTILE_CLIENTS + 2)
    until = time.perf_counter() + SECONDS
    deliveries: list[float] = []
    calls: list[float] = []
    errors = 0

    async with httpx.AsyncClient(limits=limits, timeout=60) as client, connect_appsync(served.url) as subscriber:

        async def attack() -> None:
            nonlocal errors
            while time.perf_counter() < until:
                answer = (await client.post(**make_request(served, f"{{ {NAMES[name]} }}"))).json()
                errors += "errors" in answer

        async def call() -> None:
            while time.perf_counter() < until:
                began = time.perf_counter()
                answer = (await client.post(**make_request(served, "{ kind }"))).json()
                calls.append(time.perf_counter() - began)
                assert answer == {"data": {"kind": "kind"}}, answer
                await asyncio.sleep(PAUSE_SECONDS)

        async def deliver() -> None:
            number = 0
            while time.perf_counter() < until:
                number += 1
                body = orjson.dumps({"mutation": "send", "data": {"id": str(number)}})
                began = time.perf_counter()
                publishing = asyncio.ensure_future(
                    client.post(f"{served.url}/events", headers={"x-api-key": PUBLISHER_KEY}, content=body)
                )
                await subscriber.receive_data()
                deliveries.append(time.perf_counter() - began)
                await publishing
                await asyncio.sleep(PAUSE_SECONDS)

        await subscriber.subscribe("1", "subscription { onSend { id } }")
        attacks = [attack() for _ in range(HOSTILE_CLIENTS)] if name != "none" else []
        await asyncio.gather(deliver(), call(), *attacks)
    print(f"| {name} | {errors / SECONDS:.0f} | {describe(deliveries)} | {describe(calls)} |", flush=True)


def make_request(served: Served, query: str) -> dict[str, Any]:
    return {
        "url": f"{served.url}/graphql",
        "headers": {"x-api-key": API_KEY, "content-type": "application/json"},
        "content": orjson.dumps({"query": query}),
    }


def describe(took: list[float]) -> str:
    ordered = sorted(took)
    figures = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
    return ", ".join(f"{figure * 1e3:.1f}" for figure in figures) + " ms"


def take_time(action: Callable[[], object], count: int) -> float:
    """Seconds of processor time that one takes."""
    began = time.process_time()
    for _ in range(count):
        action()
    return (time.process_time() - began) / count


def refuse(question: list[Any]) -> dict[str, Any]:
    raise AssertionError(question)


if __name__ == "__main__":
    main()
