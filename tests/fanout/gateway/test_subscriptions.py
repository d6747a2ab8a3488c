"""From wish to live subscription: registered before acknowledged, acknowledged before data, ended once."""

from __future__ import annotations

import asyncio

from fanout.model import Bucket
from tests.fanout.gateway.conftest import Harness
from tests.served import wait_until_async

IN_ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id } }"
WITH_CONTENT = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id content } }"


async def test_nothing_is_acknowledged_before_the_buckets_are_registered(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await client.send({"type": "nonsense"})
        assert (await client.receive())["type"] == "error"  # the start before it was read, and not answered
        assert harness.metrics.subscriptions == 0
        harness.deliver({"id": "early", "roomId": "1"})
        harness.directory.open.set()
        assert await client.receive() == {"type": "start_ack", "id": "s"}
        assert harness.directory.registered == [
            Bucket("onCreateMessage", "roomId", harness.directory.registered[0].token)
        ]
        harness.deliver({"id": "live", "roomId": "1"})
        assert (await client.receive_data())[1] == {"data": {"onCreateMessage": {"id": "live"}}}


async def test_a_group_is_registered_once_for_all_its_subscribers(harness: Harness) -> None:
    async with harness.connect() as one, harness.connect() as two:
        await one.subscribe("a", IN_ROOM, {"room": "1"})
        await one.subscribe("b", IN_ROOM, {"room": "1"})
        await two.subscribe("a", IN_ROOM, {"room": "1"})
        assert len(harness.directory.registered) == 1
        assert (harness.metrics.groups, harness.metrics.subscriptions) == (1, 3)
        harness.deliver({"id": "1", "roomId": "1"}, {"id": "2", "roomId": "2"})
        assert [(await one.receive_data())[0] for _ in range(2)] == ["a", "b"]
        await two.receive_data()
    await wait_until_async(lambda: harness.metrics.subscriptions == 0)
    assert harness.directory.registered == []
    assert harness.metrics.groups == 0


async def test_those_who_come_while_a_group_is_registered_wait_for_the_same_registration(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as one, harness.connect() as two:
        await one.send_start("a", IN_ROOM, {"room": "1"})
        await two.send_start("b", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
        harness.directory.open.set()
        assert await one.receive() == {"type": "start_ack", "id": "a"}
        assert await two.receive() == {"type": "start_ack", "id": "b"}
        assert len(harness.directory.registered) == 1


async def test_a_stop_while_pending_ends_it_without_a_trace(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await client.send({"id": "s", "type": "stop"})
        assert await client.receive() == {"type": "complete", "id": "s"}
        harness.directory.open.set()
        await wait_until_async(lambda: harness.metrics.groups == 0)
        assert harness.directory.registered == []
        await client.subscribe("s", IN_ROOM, {"room": "1"})


async def test_an_id_used_again_while_pending_belongs_to_the_second_wish(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await client.send({"id": "s", "type": "stop"})
        assert (await client.receive())["type"] == "complete"
        assert harness.metrics.groups == 0
        await client.send_start("s", WITH_CONTENT, {"room": "2"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
        harness.directory.open.set()
        assert await client.receive() == {"type": "start_ack", "id": "s"}
        assert harness.metrics.subscriptions == 1
        harness.deliver({"id": "1", "roomId": "1"}, {"id": "2", "roomId": "2", "content": "c"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"] == {"id": "2", "content": "c"}


async def test_a_connection_that_is_cut_while_pending_leaves_nothing_behind(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
    await wait_until_async(lambda: len(harness.gateway) == 0)
    harness.directory.open.set()
    await wait_until_async(lambda: harness.metrics.groups == 0)
    assert harness.directory.registered == []
    assert harness.metrics.subscriptions == 0


async def test_a_rejected_wish_leaves_the_id_free(harness: Harness) -> None:
    async with harness.connect() as client:
        answer = await client.start("s", "subscription { nope }")
        assert (answer["type"], answer["id"]) == ("error", "s")
        answer = await client.start("s", IN_ROOM, {"room": "1"}, key="wrong")
        assert answer["payload"]["errors"][0]["errorCode"] == 401
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        assert harness.metrics.refusals.total() == 2


async def test_stopping_gives_up_registrations_under_way(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
        await asyncio.wait_for(harness.subscriptions.stop(), 20)
        assert harness.directory.registered == []


async def test_wishes_that_are_given_up_while_redis_is_away_hold_nothing(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        for number in range(50):
            await client.send_start("s", IN_ROOM, {"room": "same" if number % 2 else str(number)})
            await client.send({"id": "s", "type": "stop"})
            assert (await client.receive())["type"] == "complete"
        assert harness.metrics.groups == 0
        harness.directory.open.set()
        await client.subscribe("s", IN_ROOM, {"room": "same"})
        assert len(harness.directory.registered) == 1


async def test_those_who_stay_are_not_given_up_with_those_who_leave(harness: Harness) -> None:
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("stays", IN_ROOM, {"room": "1"})
        await client.send_start("leaves", IN_ROOM, {"room": "1"})
        await client.send({"id": "leaves", "type": "stop"})
        assert await client.receive() == {"type": "complete", "id": "leaves"}
        harness.directory.open.set()
        assert await client.receive() == {"type": "start_ack", "id": "stays"}
        assert harness.metrics.subscriptions == 1
