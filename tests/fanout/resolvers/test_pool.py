"""Processes that run resolvers: calls in and out, hostile ones, killed ones, ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop

from fanout.errors import Unavailable
from fanout.resolvers.child import Call
from fanout.resolvers.pool import Pool
from fanout.resolvers.rewriter import rewrite_module
from fanout.resolvers.sandbox import Limits, Resource, ResourceLimitExceeded
from tests.served import wait_until, wait_until_async

ECHO = """
import { util } from '@aws-appsync/utils';
export function request(ctx) { return { payload: ctx.args }; }
export function response(ctx) { return ctx.result; }
"""
LOOP = "export const request = () => { while (true) {} }"
NATIVE = "export const request = () => Array(4e9).join('')"
REGEX = "export const request = () => /^(a+)+$/.test('a'.repeat(40) + 'b')"
MEMORY = "export const request = () => { const all = []; for (;;) all.push([all.length]) }"
STACK = "export const request = () => request() + 1"
MODULES = {"regex": REGEX, "memory": MEMORY, "stack": STACK, "echo": ECHO, "loop": LOOP, "native": NATIVE}


@asynccontextmanager
async def open_pool(processes: int = 2, max_waiting: int = 1000, time_ms: int = 25) -> AsyncIterator[Pool]:
    bodies = {name: rewrite_module(source, f"{name}.js") for name, source in MODULES.items()}
    pool = Pool(bodies, Limits(time_ms=time_ms), processes, max_waiting)
    pool.start()
    try:
        yield pool
    finally:
        await asyncio.wait_for(pool.close(), 30)


async def echo(pool: Pool, value: Any) -> Any:
    return (await pool.call("echo", "unit", {"arguments": {"value": value}, "stash": {}}))["value"]["value"]


async def test_calls_are_answered_in_any_number() -> None:
    async with open_pool() as pool:
        assert await asyncio.gather(*(echo(pool, number) for number in range(200))) == list(range(200))


@pytest.mark.parametrize("module", ["loop", "native", "regex", "memory", "stack"])
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_call_without_end_costs_one_error(module: str, processes: int) -> None:
    async with open_pool(processes) as pool:
        hostile = [asyncio.ensure_future(pool.call(module, "request", {})) for _ in range(4)]
        assert await asyncio.gather(*(echo(pool, number) for number in range(50))) == list(range(50))
        for error in await asyncio.gather(*hostile, return_exceptions=True):
            assert isinstance(error, ResourceLimitExceeded)
            assert error.resource in {"memory": ("memory", "time"), "stack": ("stack",)}.get(module, ("time",))


async def test_a_killed_process_is_replaced() -> None:
    async with open_pool(1) as pool:
        assert await echo(pool, 1) == 1
        for _ in range(2):
            killed = pool.pids[0]
            os.kill(killed, signal.SIGKILL)
            await wait_until_async(lambda killed=killed: len(pool.pids) == 2 and killed not in pool.pids)
            assert await echo(pool, 2) == 2


@pytest.mark.parametrize("module", ["loop", "native"])
@pytest.mark.parametrize("is_known", [False, True])
async def test_nobody_waits_for_a_hostile_module(module: str, is_known: bool) -> None:
    async with open_pool(1, time_ms=200) as pool:
        assert await echo(pool, 0) == 0
        if is_known:
            with pytest.raises(ResourceLimitExceeded):
                await pool.call(module, "request", {})
        hostile = [asyncio.ensure_future(pool.call(module, "request", {})) for _ in range(3)]
        await asyncio.sleep(0)
        for number in range(20):
            assert await echo(pool, number) == number
        assert not hostile[-1].done()
        for each in hostile:
            each.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)


class StandIn:
    """In place of a child: what it was given stays under way until the test ends it."""

    pid = 1
    is_ready = is_warm = True

    def __init__(self, owner: Pool) -> None:
        self.owner = owner
        self.under_way: deque[Call] = deque()

    @property
    def has_room(self) -> bool:
        return self.is_ready and len(self.under_way) < 2

    @property
    def modules(self) -> list[str]:
        return [call.module for call in self.under_way]

    def start(self) -> None:
        pass

    def send(self, call: Call) -> None:
        self.under_way.append(call)

    def end_if_stuck(self) -> None:
        pass

    async def end(self) -> None:
        pass

    def answer(self) -> None:
        self.under_way.popleft().future.set_result({})
        self.owner.dispatch()

    def exceed(self) -> None:
        call = self.under_way.popleft()
        self.owner.note_limit(call.module, self)  # type: ignore[arg-type]
        call.future.set_exception(ResourceLimitExceeded(Resource.TIME))
        self.owner.dispatch()

    def die(self) -> None:
        self.is_ready = False
        call = self.under_way.popleft()
        self.owner.note_limit(call.module, self)  # type: ignore[arg-type]
        call.future.set_exception(ResourceLimitExceeded(Resource.TIME))
        self.owner.put_back(self.under_way)
        self.under_way.clear()
        self.owner.dispatch()


class Lines:
    """A pool with stand-ins, and calls to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
        monkeypatch.setattr("fanout.resolvers.pool.Child", StandIn)
        self.pool = Pool({}, Limits(), processes, 1000)
        self.pool.start()
        self.children: list[StandIn] = self.pool._children  # type: ignore[assignment]
        self.calls: list[asyncio.Future[dict[str, Any]]] = []

    async def add(self, *modules: str) -> None:
        self.calls += [asyncio.ensure_future(self.pool.call(module, "request", {})) for module in modules]
        await asyncio.sleep(0)

    async def end(self) -> None:
        while any(child.under_way for child in self.children):
            for child in self.children:
                child.is_ready = True
                if child.under_way:
                    child.answer()
        await asyncio.gather(*self.calls, return_exceptions=True)
        await self.pool.close()


async def test_modules_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(monkeypatch, 1)
    await lines.add("a", "a", "a", "a", "a", "b", "b", "c")
    first, second = lines.children
    assert (first.modules, second.modules) == (["a", "a"], ["b", "b"])
    second.answer()
    assert second.modules == ["b", "c"]
    first.answer()
    assert first.modules == ["a", "a"]
    await lines.end()


async def test_no_module_is_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(monkeypatch, 2)
    await lines.add(*["a"] * 10)
    assert sorted(child.modules for child in lines.children) == [[], ["a", "a"], ["a", "a"]]
    await lines.add("b", "b", "b")
    assert sorted(child.modules for child in lines.children) == [["a", "a"], ["a", "a"], ["b", "b"]]
    await lines.end()


async def test_the_lane_is_for_modules_that_hit_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(monkeypatch, 2)
    await lines.add(*["bad"] * 6)
    lane, other = [child for child in lines.children if child.modules]
    lane.exceed()
    assert (lane.modules, other.modules) == (["bad", "bad"], ["bad", "bad"])
    other.exceed()
    other.exceed()
    assert other.modules == []
    await lines.add(*"abcdefgh")
    assert lane.modules == ["bad", "bad"]
    assert all(child.modules != [] and "bad" not in child.modules for child in lines.children if child is not lane)
    lane.exceed()
    lane.exceed()
    assert lane.modules == ["bad"]  # it has room, others wait, and none of them is given to it
    lane.answer()
    assert lane.modules != []  # nobody of the lane is there: it is anybody's
    assert "bad" not in lane.modules
    await lines.end()


async def test_who_ended_a_process_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(monkeypatch, 1)
    await lines.add("bad", "good", "bad", "bad")
    lane = next(child for child in lines.children if "bad" in child.modules)
    rest = next(child for child in lines.children if child is not lane)
    lane.die()
    assert (lane.modules, rest.modules) == ([], ["good"])
    await lines.add("good", "good")
    assert rest.modules == ["good", "good"]
    lane.is_ready = True
    lines.pool.dispatch()
    assert (lane.modules, rest.modules) == (["bad", "bad"], ["good", "good"])
    await lines.end()


async def test_what_was_behind_a_death_is_first_in_line_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(monkeypatch, 1)
    for child in lines.children[1:]:
        child.is_ready = False
    await lines.add("bad", "good", "later", "good")
    first, second = lines.children
    assert first.modules == ["bad", "good"]
    second.is_ready = True
    behind = first.under_way[1]
    first.die()
    assert second.modules == ["good", "later"]
    assert second.under_way[0] is behind
    await lines.end()


async def test_without_any_process_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(monkeypatch, 1)
    for child in lines.children:
        child.is_ready = False
    await lines.add("a", "b")
    lines.pool.note_failed_start()
    outcomes = await asyncio.gather(*lines.calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    await lines.end()


async def test_a_process_inherits_nothing(tmp_path: Path) -> None:
    kept = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(kept, True)
    try:
        async with open_pool(1) as pool:
            assert await echo(pool, 1) == 1
            await wait_until_async(lambda: len(pool.pids) == 2)
            for pid in pool.pids:
                await wait_until_async(lambda pid=pid: read_descriptors(pid) == {0, 1, 2})
                assert read_environment(pid) == b""
                assert os.getsid(pid) == pid
    finally:
        os.close(kept)


# Only Linux tells of other processes what they have.
def read_descriptors(pid: int) -> set[int]:
    folder = Path(f"/proc/{pid}/fd")
    return {int(path.name) for path in folder.iterdir()} if folder.exists() else {0, 1, 2}


def read_environment(pid: int) -> bytes:
    path = Path(f"/proc/{pid}/environ")
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("module", ["echo", "native"])
def test_processes_end_with_a_gateway_that_is_killed(module: str) -> None:
    """Also in the middle of what cannot be interrupted."""
    program = f"""
import asyncio
from tests.fanout.resolvers.test_pool import open_pool
async def main():
    async with open_pool(1) as pool:
        await pool.call("echo", "request", {{}})
        call = asyncio.ensure_future(pool.call({module!r}, "request", {{}}))
        await asyncio.sleep(0)
        print(*pool.pids, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        pids = [int(pid) for pid in gateway.stdout.readline().split()]
        gateway.kill()
    assert pids
    wait_until(lambda: not any(is_running(pid) for pid in pids))


def is_running(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return shown.strip()[:1] not in ("", "Z")


async def test_what_waits_is_not_written_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of one request hold its variables: written for each that waits, a few megabytes would be gigabytes."""
    written: list[object] = []

    def write(value: object, dumps: Callable[[object], bytes] = orjson.dumps) -> bytes:
        written.append(value)
        return dumps(value)

    async with open_pool(1) as pool:
        await echo(pool, 0)
        monkeypatch.setattr(orjson, "dumps", write)
        calls = [asyncio.ensure_future(echo(pool, number)) for number in range(100)]
        await asyncio.sleep(0)
        assert len(written) <= 4
        assert await asyncio.gather(*calls) == list(range(100))
        assert len(written) == 100


async def test_what_is_no_json_fails_its_call_only() -> None:
    async with open_pool(1) as pool:
        calls = [echo(pool, value) for value in (1, object(), 2, 1 << 70, 3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [1, 2, 3]
        assert [type(outcomes[place]) for place in (1, 3)] == [orjson.JSONEncodeError] * 2


async def test_more_than_may_wait_are_refused() -> None:
    async with open_pool(1, max_waiting=3) as pool:
        calls = [asyncio.ensure_future(echo(pool, number)) for number in range(4)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert outcomes[:3] == [0, 1, 2]
        assert isinstance(outcomes[3], Unavailable)


async def test_a_cancelled_call_is_left_out() -> None:
    async with open_pool(1) as pool:
        calls = [asyncio.ensure_future(echo(pool, number)) for number in range(10)]
        await asyncio.sleep(0)
        calls[0].cancel()
        calls[7].cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [1, 2, 3, 4, 5, 6, 8, 9]


async def test_closing_lets_calls_end() -> None:
    async with open_pool() as pool:
        calls = [asyncio.ensure_future(echo(pool, number)) for number in range(20)]
        await asyncio.sleep(0)
        pids = pool.pids
        await pool.close()
        assert await asyncio.gather(*calls) == list(range(20))
        with pytest.raises(Unavailable):
            await echo(pool, 1)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_both_event_loops_run_it(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def run() -> None:
        async with open_pool() as pool:
            with pytest.raises(ResourceLimitExceeded):
                await pool.call("native", "request", {})
            assert await echo(pool, 1) == 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
