"""Processes that run resolvers: calls in and out, hostile ones, killed ones, ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fanout.errors import Unavailable
from fanout.resolvers.modules import rewrite_module
from fanout.resolvers.pool import Pool
from fanout.resolvers.sandbox import LimitExceeded, Limits
from tests.served import wait_until, wait_until_async

ECHO = """
import { util } from '@aws-appsync/utils';
export function request(ctx) { return { payload: ctx.args }; }
export function response(ctx) { return ctx.result; }
"""
LOOP = "export const request = () => { while (true) {} }"
NATIVE = "export const request = () => Array(4e9).join('')"
MODULES = {"echo": ECHO, "other": ECHO, "loop": LOOP, "native": NATIVE}


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


@pytest.mark.parametrize("module", ["loop", "native"])
@pytest.mark.parametrize("processes", [1, 2])
async def test_a_call_without_end_costs_one_error(module: str, processes: int) -> None:
    async with open_pool(processes) as pool:
        hostile = [asyncio.ensure_future(pool.call(module, "request", {})) for _ in range(4)]
        assert await asyncio.gather(*(echo(pool, number) for number in range(50))) == list(range(50))
        for error in await asyncio.gather(*hostile, return_exceptions=True):
            assert isinstance(error, LimitExceeded)
            assert str(error) == "time"


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
            with pytest.raises(LimitExceeded):
                await pool.call(module, "request", {})
        hostile = [asyncio.ensure_future(pool.call(module, "request", {})) for _ in range(3)]
        await asyncio.sleep(0)
        for number in range(20):
            assert await echo(pool, number) == number
        assert not hostile[-1].done()
        for each in hostile:
            each.cancel()
        await asyncio.gather(*hostile, return_exceptions=True)


async def test_modules_take_turns() -> None:
    """A module with many calls in line does not hold up one with a single call."""
    async with open_pool(1) as pool:
        order: list[str] = []

        async def call(name: str) -> None:
            await pool.call(name, "unit", {"arguments": {"value": 1}, "stash": {}})
            order.append(name)

        await asyncio.gather(*(call("echo") for _ in range(100)), call("other"))
        assert order.index("other") < 20


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
            with pytest.raises(LimitExceeded):
                await pool.call("native", "request", {})
            assert await echo(pool, 1) == 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
