"""Announcements reach every gateway once and in order, are answered, and a gateway that missed some finds out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from fanout.bus.announcements import _MAX_LENGTH, Announcements
from fanout.bus.bus import Bus
from fanout.bus.client import Endpoint, Link
from fanout.bus.entries import parse_id
from fanout.bus.keys import Keys
from fanout.metrics import Metrics
from fanout.settings import Settings
from tests.fanout.bus.harness import USUAL, Gate, until

WAIT_S = 10.0


class Listener:
    """A bus, what it was told, and what it answers."""

    def __init__(self, url: str, name: str) -> None:
        self.heard: list[bytes] = []
        self.missed: list[str] = []
        self.fails = False
        self._name = name.encode()
        self.bus = Bus(
            Settings(**USUAL), url, lambda _: None, lambda *_: None, self.missed.append, Metrics(), self._hear
        )

    async def _hear(self, body: bytes) -> bytes:
        self.heard.append(body)
        if self.fails:
            raise RuntimeError("a defect")
        return self._name + b" heard " + body


@pytest.fixture
async def start() -> AsyncIterator[Callable[[str, str], Awaitable[Listener]]]:
    started: list[Listener] = []

    async def start(url: str, name: str) -> Listener:
        listener = Listener(url, name)
        await listener.bus.start()
        started.append(listener)
        return listener

    yield start
    for listener in started:
        await listener.bus.stop()


async def test_what_is_not_waited_for_is_heard_all_the_same(url: str, start: Any) -> None:
    listeners = [await start(url, name) for name in "ab"]
    announced = await listeners[0].bus.announce(b"one", 0)
    assert (announced.told, announced.answers) == (2, {})
    await listeners[1].bus.announce(b"two", WAIT_S)
    assert listeners[0].heard == listeners[1].heard == [b"one", b"two"]


async def test_all_hear_it_once_and_in_order_and_answer(url: str, start: Any) -> None:
    listeners = [await start(url, name) for name in "abc"]
    announced = await listeners[0].bus.announce(b"one", WAIT_S)
    assert announced.told == 3
    assert announced.answers == {
        listener.bus.gateway_id: name + b" heard one"
        for listener, name in zip(listeners, (b"a", b"b", b"c"), strict=True)
    }
    bodies = [b"%d" % number for number in range(20)]
    results = await asyncio.gather(
        *(listeners[index % 3].bus.announce(body, WAIT_S) for index, body in enumerate(bodies))
    )
    assert all(len(result.answers) == 3 for result in results)
    assert listeners[0].heard == listeners[1].heard == listeners[2].heard
    assert sorted(listeners[0].heard) == sorted([b"one", *bodies])
    late = await start(url, "d")
    await listeners[1].bus.announce(b"two", WAIT_S)
    assert late.heard == [b"two"]  # what was announced before it came is not its business


async def test_a_defect_of_one_gateway_is_an_empty_answer_and_the_next_one_is_heard(url: str, start: Any) -> None:
    good, bad = await start(url, "good"), await start(url, "bad")
    bad.fails = True
    announced = await good.bus.announce(b"1", WAIT_S)
    assert announced.answers[bad.bus.gateway_id] == b""
    assert announced.answers[good.bus.gateway_id] == b"good heard 1"
    await good.bus.announce(b"2", WAIT_S)
    assert bad.heard == [b"1", b"2"]


async def test_answers_do_not_stay(url: str, redis: Redis, start: Any) -> None:
    listener = await start(url, "a")
    await listener.bus.announce(b"1", WAIT_S)
    (key,) = await redis.keys("*answers*")
    assert 0 < await redis.pttl(key) <= 60_000


async def test_a_gateway_that_is_cut_off_is_not_waited_for_and_hears_it_later(url: str, gate: Gate, start: Any) -> None:
    teller, listener = await start(url, "teller"), await start(gate.url, "listener")
    gate.hold()
    announced = await teller.bus.announce(b"1", 0.2)
    assert (announced.told, len(announced.answers)) == (2, 1)
    assert listener.heard == []
    gate.release()
    await until(lambda: listener.heard == [b"1"])
    assert "announcements-missed" not in listener.missed


async def test_a_gateway_that_was_away_for_too_many_is_told(url: str, redis: Redis, start: Any) -> None:
    listener = await start(url, "a")
    async with asyncio.timeout(20):
        key = Keys("fanout:").announcements
        pipeline = redis.pipeline(transaction=True)  # the gateway sees all at once, as if it had been away
        for number in range(_MAX_LENGTH + 5):
            pipeline.xadd(key, {"body": str(number)}, maxlen=_MAX_LENGTH, approximate=False)
        await pipeline.execute()
        await until(lambda: listener.heard and listener.heard[-1] == b"%d" % (_MAX_LENGTH + 4))
    assert listener.missed == ["announcements-missed"]
    assert len(listener.heard) == _MAX_LENGTH
    await listener.bus.announce(b"next", WAIT_S)
    assert listener.heard[-1] == b"next"
    assert listener.missed == ["announcements-missed"]


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(("new_id", "expected"), [("9-1", [b"new", b"newer"]), ("2-1", [b"newer"])])
async def test_a_stream_that_is_another_one_is_told(
    url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch, new_id: str, expected: Any, is_known: bool
) -> None:
    monkeypatch.setattr("fanout.bus.announcements.BLOCK_MS", 20)
    heard: list[bytes] = []
    missed: list[bool] = []

    async def hear(body: bytes) -> bytes:
        heard.append(body)
        return b""

    listener = Link(Endpoint(url), "listener")
    announcements = Announcements(Keys("p:"), listener, lambda: "g", hear, lambda: missed.append(True))
    key = Keys("p:").announcements
    for number in range(1, 6):
        await redis.xadd(key, {"body": "old"}, id=f"{number}-1")
    await announcements.join()
    await redis.delete(key)
    await redis.xadd(key, {"body": "new"}, id=new_id)
    if is_known:
        announcements.note_loss()
    running = asyncio.create_task(announcements.run())
    await until(lambda: announcements._position.id == parse_id(new_id))
    await redis.xadd(key, {"body": "newer"}, id="10-1")
    await until(lambda: heard == expected)
    assert missed == ([] if is_known else [True])
    running.cancel()
    await asyncio.wait([running])
    await listener.close()
