"""From wish to live subscription: registered before acknowledged, acknowledged before data, ended once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanout.engine import Registry
from fanout.gateway.connection import Connection
from fanout.gateway.subscriptions import Subscriptions
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


@pytest.mark.parametrize(("where", "name"), [(Connection, "acknowledge"), (Registry, "add")])
async def test_one_that_cannot_be_made_live_is_closed_and_the_others_go_live(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: type, name: str
) -> None:
    def fail_once(*arguments: Any) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    harness.directory.open.clear()
    async with harness.connect() as one, harness.connect() as two:
        await one.send_start("a", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
        await two.send_start("b", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: all(each.subscriptions for each in harness.gateway.connections))
        monkeypatch.setattr(where, name, fail_once)
        harness.directory.open.set()
        assert await two.receive() == {"type": "start_ack", "id": "b"}
        await wait_until_async(lambda: len(harness.gateway.connections) == 1)
        assert harness.metrics.closes["internal-error"] == 1
        assert "could not be made live" in caplog.text
        harness.deliver({"id": "1", "roomId": "1"})
        assert (await two.receive_data())[0] == "b"
    await wait_until_async(lambda: harness.metrics.groups == 0)
    assert harness.directory.registered == []


async def test_the_only_one_that_cannot_be_made_live_leaves_nothing_behind(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise ZeroDivisionError

    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("a", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
        monkeypatch.setattr(Subscriptions, "_add", fail)
        harness.directory.open.set()
        await wait_until_async(lambda: harness.metrics.closes["internal-error"] == 1)
        await wait_until_async(lambda: harness.metrics.groups == 0)
        assert harness.directory.registered == []


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


def position_of(payload: dict[str, Any]) -> str:
    return str(payload["extensions"]["fanout"]["position"])


async def test_who_asks_is_told_where_it_begins_and_where_each_event_is(harness: Harness) -> None:
    async with harness.connect() as asks, harness.connect() as does_not:
        harness.deliver({"id": "0", "roomId": "1"})
        acknowledgement = await asks.start("s", IN_ROOM, {"room": "1"}, fanout={})
        assert (acknowledgement["type"], position_of(acknowledgement["payload"])) == ("start_ack", "at-1")
        await does_not.subscribe("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.subscriptions == 2)
        assert harness.metrics.groups == 2
        assert len(harness.directory.registered) == 2
        harness.deliver({"id": "1", "roomId": "2"}, {"id": "2", "roomId": "1"}, {"id": "3", "roomId": "1"})
        payloads = [(await asks.receive_data())[1] for _ in range(2)]
        assert [position_of(payload) for payload in payloads] == ["at-3", "at-4"]
        assert [payload["data"] for payload in payloads] == [(await does_not.receive_data())[1]["data"] for _ in "12"]
    await wait_until_async(lambda: harness.metrics.groups == 0)
    assert harness.directory.registered == []


async def test_who_gives_a_position_gets_what_came_after_it_and_goes_on_live(harness: Harness) -> None:
    async with harness.connect() as client:
        for number in range(100):
            harness.deliver({"id": str(number), "roomId": str(number % 2)})
        acknowledgement = await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-10"})
        assert position_of(acknowledgement["payload"]) == "at-10"
        received = [(await client.receive_data())[1] for _ in range(45)]
        assert [payload["data"]["onCreateMessage"]["id"] for payload in received] == [str(n) for n in range(11, 100, 2)]
        assert [position_of(payload) for payload in received] == [f"at-{n + 1}" for n in range(11, 100, 2)]
        harness.deliver({"id": "live", "roomId": "1"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "live"
        assert (harness.metrics.resumes, harness.metrics.replayed) == (1, 45)


async def test_positions_need_not_be_told_to_those_who_resume(harness: Harness) -> None:
    async with harness.connect() as client:
        harness.deliver({"id": "1", "roomId": "1"})
        answer = await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-0", "positions": False})
        assert answer == {"type": "start_ack", "id": "s"}
        assert (await client.receive_data())[1] == {"data": {"onCreateMessage": {"id": "1"}}}


async def test_positions_that_are_none_or_expired_are_refused(harness: Harness) -> None:
    async with harness.connect() as client:
        for after, error_type in (("nonsense", "BadRequestException"), ("at-7", "PositionExpired")):
            answer = await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": after})
            assert (answer["type"], answer["id"]) == ("error", "s")
            assert answer["payload"]["errors"][0]["errorType"] == error_type
            assert harness.metrics.refusals[error_type] == 1
        assert harness.metrics.groups == 0
        assert harness.directory.registered == []
        await client.subscribe("s", IN_ROOM, {"room": "1"})


async def test_a_stop_or_a_cut_while_catching_up_leaves_nothing_behind(harness: Harness) -> None:
    harness.past.may_be_read.clear()
    harness.deliver(*({"id": str(number), "roomId": "1"} for number in range(30)))
    async with harness.connect() as client:
        for _ in range(2):
            assert (await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-0"}))["type"] == "start_ack"
            assert harness.metrics.groups == 1
            await client.send({"id": "s", "type": "stop"})
            assert await client.receive() == {"type": "complete", "id": "s"}
            assert harness.metrics.groups == 0
            assert harness.directory.registered == []
        await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-0"})
    await wait_until_async(lambda: harness.metrics.groups == 0)
    harness.past.may_be_read.set()
    async with harness.connect() as client:
        await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-29"})
        assert position_of((await client.receive_data())[1]) == "at-30"


async def test_what_is_trimmed_while_it_is_replayed_is_told_by_a_close(harness: Harness) -> None:
    harness.past.may_be_read.clear()
    harness.deliver({"id": "1", "roomId": "1"})
    async with harness.connect() as client:
        await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-0"})
        harness.past.is_trimmed = True
        harness.past.may_be_read.set()
        await client.connection.wait_closed()
        assert client.connection.close_code == 4605
        assert "history-trimmed" in client.connection.close_reason
    await wait_until_async(lambda: harness.metrics.groups == 0)


async def test_when_events_were_missed_those_who_catch_up_are_told_too(harness: Harness) -> None:
    harness.past.may_be_read.clear()
    harness.deliver({"id": "1", "roomId": "1"})
    async with harness.connect() as client:
        await client.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-0"})
        harness.gateway.close_subscribers("history-lost")
        await client.connection.wait_closed()
        assert client.connection.close_code == 4605


async def test_a_replay_waits_for_a_client_that_does_not_read(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=64 * 1024)
    content = "x" * 10_000
    # Far more than the system's buffers and the limit hold together.
    harness.deliver(*({"id": str(number), "roomId": "1", "content": content} for number in range(1500)))
    async with harness.connect(max_queue=1) as client, harness.connect() as quick:
        await client.start("s", WITH_CONTENT, {"room": "1"}, fanout={"after": "at-0"})
        # It has to be read before anything else comes: this client stops reading at its high-water mark.
        await quick.start("s", IN_ROOM, {"room": "1"}, fanout={"after": "at-0"})
        for number in range(1500):
            assert position_of((await quick.receive_data())[1]) == f"at-{number + 1}"
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        assert 0 < harness.metrics.replayed - 1500 < 1500
        for number in range(1500):
            assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == str(number)
        await wait_until_async(lambda: harness.metrics.subscriptions == 2)
        assert harness.metrics.closes["slow-client"] == 0
        harness.deliver({"id": "live", "roomId": "1"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "live"
