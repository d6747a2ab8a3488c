"""Connections: answers in order, losses noticed, and no credentials in any text."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from fanout.bus import node
from fanout.bus.client import AccessRefused, Backoff, CommandRefused, Endpoint, Link
from fanout.errors import Unavailable
from tests.fanout.bus.harness import Gate, until, until_redis


async def test_answers_come_in_the_order_of_the_commands(link: Link) -> None:
    assert await link.call(("SET", "k", b"\x00\xff"), ("GET", "k"), ("INCRBY", "n", 5), ("GET", "missing")) == [
        b"OK",
        b"\x00\xff",
        5,
        None,
    ]
    assert await link.call() == []


async def test_large_batches_are_sent_in_pieces(link: Link) -> None:
    value = b"x" * 100_000
    answers = await link.call(*(("SET", f"k{number}", value) for number in range(50)), ("GET", "k49"))
    assert answers == [b"OK"] * 50 + [value]


async def test_a_refused_command_is_raised_after_all_were_answered(link: Link) -> None:
    await link.call(("SET", "text", "x"))
    with pytest.raises(CommandRefused, match="refused a command: value is not an integer"):
        await link.call(("INCR", "text"), ("SET", "other", "y"))
    assert await link.call(("GET", "other")) == [b"y"]


async def test_refusals_can_be_answers(link: Link) -> None:
    await link.call(("SET", "text", "x"))
    refused, value = await link.call(("INCR", "text"), ("GET", "text"), refusable=1)
    assert isinstance(refused, CommandRefused)
    assert value == b"x"
    with pytest.raises(CommandRefused):
        await link.call(("GET", "text"), ("INCR", "text"), refusable=1)


async def test_nobody_there(short_directory: object) -> None:
    link = Link(Endpoint(f"unix://user:hunter2@{short_directory}/none.sock"), "test")
    with pytest.raises(Unavailable, match=r"none\.sock cannot be reached: No such file or directory$") as caught:
        await link.call(("PING",))
    assert "hunter2" not in str(caught.value)


@pytest.mark.single_server
async def test_refused_access(url: str, redis: Redis) -> None:
    for bad_url in (url.replace("unix://", "unix://user:hunter2@"), f"{url}?db=99"):
        link = Link(Endpoint(bad_url), "test")
        with pytest.raises(AccessRefused, match="refuses the user, password or database of redis_url") as caught:
            await link.call(("PING",))
        assert "hunter2" not in str(caught.value)
    await redis.execute_command("ACL", "SETUSER", "limited", "on", ">hunter2", "~*", "+get", "+client")
    link = Link(Endpoint(url.replace("unix://", "unix://limited:hunter2@")), "test")
    assert await link.call(("GET", "k")) == [None]
    with pytest.raises(CommandRefused, match="no permissions"):
        await link.call(("SET", "k", "v"))
    await link.close()
    await redis.execute_command("ACL", "DELUSER", "limited")


@pytest.mark.single_server
async def test_a_connection_that_breaks_between_calls_is_opened_again(url: str, redis: Redis) -> None:
    losses = []
    link = Link(Endpoint(url), "test", lambda: losses.append(1))
    await link.call(("PING",))
    await redis.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: link.is_at_end)
    assert await link.call(("PING",)) == [b"PONG"]
    assert losses == [1]
    await link.close()
    assert losses == [1]


async def test_a_connection_that_breaks_during_a_call_is_an_error(url: str, redis: Redis) -> None:
    losses = []
    link = Link(Endpoint(url), "test", lambda: losses.append(1))
    reading = asyncio.create_task(link.call(("XREAD", "BLOCK", 10_000, "STREAMS", "s", "$"), wait_ms=10_000))

    async def is_reading() -> bool:
        return any(client["cmd"] == "xread" for client in await redis.client_list())

    await until_redis(is_reading)
    await redis.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(Unavailable, match="closed"):
        await reading
    assert losses == [1]
    assert await link.call(("PING",)) == [b"PONG"]
    await link.close()


@pytest.mark.single_server
async def test_answers_that_nobody_waits_for_are_not_given_to_the_next_call(link: Link) -> None:
    await link.send([("SET", "k", "old")])
    assert await link.call(("GET", "k")) == [b"old"]
    reading = asyncio.create_task(link.call(("XREAD", "BLOCK", 10_000, "STREAMS", "s", "$"), wait_ms=10_000))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert await link.call(("GET", "k")) == [b"old"]


async def test_a_server_that_does_not_answer(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "ANSWER_TIMEOUT_S", 0.05)
    link = Link(Endpoint(gate.url), "test")
    await link.call(("PING",))
    gate.hold()
    with pytest.raises(Unavailable, match=r"did not answer within 0.05 s"):
        await link.call(("PING",))
    with pytest.raises(Unavailable, match=r"did not answer within 0.05 s"):
        await link.call(("PING",))
    gate.release()
    monkeypatch.setattr(node, "ANSWER_TIMEOUT_S", 5)
    assert await link.call(("PING",)) == [b"PONG"]
    await link.close()


@pytest.mark.single_server
async def test_a_server_that_became_a_replica_is_left(url: str, redis: Redis) -> None:
    losses = []
    link = Link(Endpoint(url), "test", lambda: losses.append(1))
    await link.call(("SET", "k", "v"))
    await redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(Unavailable):
            await link.call(("SET", "k", "w"))
        assert losses == [1]
    finally:
        await redis.replicaof("NO", "ONE")
    assert await link.call(("SET", "k", "w")) == [b"OK"]
    await link.close()


async def test_the_name_is_shown_to_operators(url: str, redis: Redis) -> None:
    link = Link(Endpoint(url), "fanout-somebody")
    await link.call(("PING",))
    assert "fanout-somebody" in [client["name"] for client in await redis.client_list()]
    await link.close()


async def test_pauses_grow_to_a_second_and_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def note(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(asyncio, "sleep", note)
    backoff = Backoff()
    for _ in range(8):
        await backoff.pause()
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0
    backoff.reset()
    await backoff.pause()
    assert pauses[-1] == pauses[0]
