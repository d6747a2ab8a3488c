"""Calls of one request wait for their turns, and none is begun when its time is over."""

from __future__ import annotations

import asyncio

import pytest

from fanout.schema import Resolved
from fanout.web.pace import CALLS_AT_ONCE, Pace


async def test_so_many_are_called_at_once() -> None:
    running = asyncio.Barrier(CALLS_AT_ONCE)
    begun = 0
    most = 0

    async def begin() -> Resolved:
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        await running.wait()  # all of them, and no more
        begun -= 1
        return Resolved(1)

    pace = Pace(60_000)
    assert len(await asyncio.gather(*(pace.wait(begin) for _ in range(3 * CALLS_AT_ONCE)))) == 3 * CALLS_AT_ONCE
    assert most == CALLS_AT_ONCE


async def test_when_the_time_is_over_what_runs_is_ended_and_the_others_are_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    read_clock = loop.time
    journal: list[str] = []

    async def begin() -> Resolved:
        journal.append("begun")
        if len(journal) == CALLS_AT_ONCE:
            monkeypatch.setattr(loop, "time", lambda: read_clock() + 61)
        try:
            await asyncio.Event().wait()
        finally:
            journal.append("ended")
        return Resolved(1)

    pace = Pace(60_000)
    outcomes = await asyncio.gather(*(pace.wait(begin) for _ in range(CALLS_AT_ONCE + 10)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * (CALLS_AT_ONCE + 10)
    assert sorted(journal) == ["begun"] * CALLS_AT_ONCE + ["ended"] * CALLS_AT_ONCE


async def test_a_call_that_fails_leaves_its_turn() -> None:
    async def begin() -> Resolved:
        raise ValueError("no")

    pace = Pace(60_000)
    for _ in range(2 * CALLS_AT_ONCE):
        with pytest.raises(ValueError, match="no"):
            await pace.wait(begin)
