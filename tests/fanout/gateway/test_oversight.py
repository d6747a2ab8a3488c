"""What operators do to live connections, seen from the clients."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from fanout.api import Api
from fanout.auth import ApiKeys
from fanout.errors import BadRequest
from fanout.gateway.connection import Connection
from fanout.model import CloseReason
from fanout.schema import parse_schema
from fanout.settings import Settings, SubscriptionSettings
from tests.fanout.gateway.conftest import OTHER_KEY, Harness, expect_close
from tests.served import API_KEY, wait_until_async

ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id content } }"
INVALIDATED = {"errorType": "SubscriptionInvalidated", "message": "Subscription complete."}
BY_ROOM = {"onCreateMessage": {"invalidation_filter": {"roomId": {"eq": "$args.roomId"}}}}
BY_AUTHOR = """
type Message { id: ID! }
type Query { version: String }
type Mutation { createMessage(id: ID): Message }
type Subscription {
  onCreateMessage(roomId: ID, author: String): Message @aws_subscribe(mutations: ["createMessage"])
}
"""
SUBJECT = ApiKeys([API_KEY]).check(API_KEY).subject
OTHER_SUBJECT = ApiKeys([OTHER_KEY]).check(OTHER_KEY).subject


async def open_transport_ws(harness: Harness) -> Any:
    return await connect(
        harness.url.replace("http", "ws") + "/graphql",
        subprotocols=["graphql-transport-ws"],  # type: ignore[list-item]
    )


async def start_transport_ws(connection: Any, id: str, room: str) -> None:
    if id == "1":
        await connection.send(orjson.dumps({"type": "connection_init", "payload": {"x-api-key": API_KEY}}).decode())
        assert orjson.loads(await connection.recv()) == {"type": "connection_ack"}
    payload = {"query": ROOM, "variables": {"room": room}}
    await connection.send(orjson.dumps({"type": "subscribe", "id": id, "payload": payload}).decode())


async def test_an_invalidated_subscription_is_told_and_its_connection_closed_as_in_appsync(build_harness: Any) -> None:
    harness = await build_harness(subscriptions=BY_ROOM)
    async with harness.connect() as client, harness.connect() as other:
        await client.subscribe("a", ROOM, {"room": "1"})
        await client.subscribe("b", ROOM, {"room": "2"})
        await other.subscribe("a", ROOM, {"room": "2"})
        ended = harness.oversight.invalidate("onCreateMessage", {"roomId": "1"})
        assert (ended.connections, ended.subscriptions) == (1, 1)
        assert await client.receive() == {"type": "error", "id": "a", "payload": {"errors": [INVALIDATED]}}
        await expect_close(client, CloseReason.INVALIDATED)
        harness.deliver({"id": "x", "roomId": "2", "content": "c"})
        assert (await other.receive_data())[0] == "a"
        assert harness.metrics.subscriptions == 1
        assert len(harness.subscriptions.invalidations) == 1
    assert harness.metrics.subscriptions_ended == {"invalidated": 1}


async def test_in_transport_ws_the_others_of_the_connection_go_on(build_harness: Any) -> None:
    harness = await build_harness(subscriptions=BY_ROOM)
    async with await open_transport_ws(harness) as connection:
        await start_transport_ws(connection, "1", "1")
        await start_transport_ws(connection, "2", "2")
        await wait_until_async(lambda: harness.metrics.subscriptions == 2)
        ended = harness.oversight.invalidate("onCreateMessage", {"roomId": "1"})
        assert (ended.connections, ended.subscriptions) == (0, 1)
        told = orjson.loads(await connection.recv())
        assert told == {
            "type": "error",
            "id": "1",
            "payload": [{"message": "Subscription complete.", "extensions": {"errorType": "SubscriptionInvalidated"}}],
        }
        harness.deliver({"id": "x", "roomId": "1"}, {"id": "y", "roomId": "2"})
        assert orjson.loads(await connection.recv())["payload"]["data"]["onCreateMessage"]["id"] == "y"


async def test_who_shares_a_group_is_invalidated_alone(harness: Harness) -> None:
    rules = SubscriptionSettings(
        filter={"roomId": {"eq": "$args.roomId"}}, invalidation_filter={"author": {"eq": "$args.author"}}
    )
    harness.api.become(Api(parse_schema(BY_AUTHOR), Settings(subscriptions={"onCreateMessage": rules})))
    text = "subscription On($who: String) { onCreateMessage(roomId: 1, author: $who) { id } }"
    async with harness.connect() as ann, harness.connect() as ben:
        await ann.subscribe("s", text, {"who": "ann"})
        await ben.subscribe("s", text, {"who": "ben"})
        assert harness.metrics.groups == 1
        assert harness.oversight.invalidate("onCreateMessage", {"author": "ann"}).subscriptions == 1
        assert (await ann.receive())["type"] == "error"
        harness.deliver({"id": "x", "roomId": "1"})
        assert (await ben.receive_data())[0] == "s"


async def test_a_pending_subscription_is_invalidated_too(build_harness: Any) -> None:
    harness = await build_harness(subscriptions=BY_ROOM)
    harness.directory.open.clear()
    async with harness.connect() as client:
        await client.send_start("s", ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.groups == 1)
        assert harness.oversight.invalidate("onCreateMessage", {"roomId": "1"}).subscriptions == 1
        assert (await client.receive())["payload"] == {"errors": [INVALIDATED]}
        harness.directory.open.set()
        await expect_close(client, CloseReason.INVALIDATED)
    assert harness.metrics.groups == 0


async def test_without_an_invalidation_filter_nothing_is_kept(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.subscribe("s", ROOM, {"room": "1"})
        assert len(harness.subscriptions.invalidations) == 0
        assert not harness.subscriptions.guests
        assert harness.oversight.invalidate("onCreateMessage", {"roomId": "1"}).subscriptions == 0


async def test_connections_are_listed_in_pages_and_closed_by_id(harness: Harness) -> None:
    async with harness.connect() as one, harness.connect(key=OTHER_KEY), harness.connect():
        await one.subscribe("s", ROOM, {"room": "1"})
        listed = harness.oversight.list_connections()
        assert [each.identity.subject for each in listed] == [SUBJECT, OTHER_SUBJECT, SUBJECT]
        assert [each.subscriptions for each in listed] == [1, 0, 0]
        assert {each.dialect for each in listed} == {"appsync"}
        assert {each.address for each in listed} == {"127.0.0.1"}
        first = harness.oversight.list_connections(limit=2)
        assert first == listed[:2]
        assert harness.oversight.list_connections(after=first[-1].id) == listed[2:]
        assert harness.oversight.list_connections(subject=OTHER_SUBJECT) == [listed[1]]
        harness.pass_time(1000)
        async with harness.connect():
            (later,) = harness.oversight.list_connections(after=listed[-1].id)
            assert later.since_ms - listed[-1].since_ms == 1000
        await wait_until_async(lambda: len(harness.gateway) == 3)

        # As another gateway gives them; that is not the beginning.
        for id in ("x", f"{listed[0].id[:8]}-zz", "00000000-1"):
            with pytest.raises(BadRequest, match="after"):
                harness.oversight.list_connections(after=id)
        for id in ("", "x", f"{listed[0].id[:8]}-zz", "00000000-1", listed[0].id[:-1] + "f00"):
            assert harness.oversight.close_connection(id).connections == 0
        assert harness.oversight.close_connection(listed[0].id).connections == 1
        await expect_close(one, CloseReason.CLOSED_BY_OPERATOR)
        assert [each.id for each in harness.oversight.list_connections(after=listed[0].id)] == [
            each.id for each in listed[1:]
        ]


async def test_an_identity_loses_its_connections_and_its_subscriptions_on_those_of_others(harness: Harness) -> None:
    async with harness.connect() as one, harness.connect(key=OTHER_KEY) as other:
        await one.subscribe("mine", ROOM, {"room": "1"})
        answer = await one.start("guest", ROOM, {"room": "1"}, key=OTHER_KEY)
        assert answer == {"type": "start_ack", "id": "guest"}
        assert len(harness.subscriptions.guests) == 1
        ended = harness.oversight.close_identity(OTHER_SUBJECT)
        assert (ended.connections, ended.subscriptions) == (1, 1)
        await expect_close(other, CloseReason.CLOSED_BY_OPERATOR)
        error = (await one.receive())["payload"]["errors"][0]
        assert error == {"errorType": "SubscriptionEnded", "message": "The subscription was ended by the operator."}
        harness.deliver({"id": "x", "roomId": "1"})
        assert (await one.receive_data())[0] == "mine"
        assert not harness.subscriptions.guests
        assert harness.oversight.close_identity("nobody").connections == 0


async def test_credentials_that_do_not_hold_any_more_end_their_connections(harness: Harness) -> None:
    async with (
        harness.connect() as one,
        harness.connect(key=OTHER_KEY) as other,
        await open_transport_ws(harness) as ws,
    ):
        await start_transport_ws(ws, "1", "1")
        await one.start("guest", ROOM, {"room": "1"}, key=OTHER_KEY)
        await one.subscribe("mine", ROOM, {"room": "1"})
        ended = harness.oversight.revoke(lambda identity: identity.subject != OTHER_SUBJECT)
        assert (ended.connections, ended.subscriptions) == (1, 1)
        error = {"errorType": "UnauthorizedException", "message": "You are not authorized to make this call."}
        assert await other.receive() == {
            "type": "connection_error",
            "payload": {"errors": [{**error, "errorCode": 401}]},
        }
        await other.connection.wait_closed()
        assert other.connection.close_code == CloseReason.UNAUTHORIZED.code
        told = await one.receive()
        assert (told["type"], told["id"]) == ("error", "guest")
        assert harness.oversight.revoke(lambda identity: False).connections == 2
        await ws.wait_closed()
        assert ws.close_code == CloseReason.UNAUTHORIZED.code
    assert harness.metrics.closes[CloseReason.UNAUTHORIZED.label] == 3
    assert harness.metrics.subscriptions == 0


async def test_a_defect_with_one_connection_ends_it_and_spares_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with harness.connect() as one, harness.connect() as two, harness.connect(key=OTHER_KEY) as host:
        await one.subscribe("s", ROOM, {"room": "1"})
        for id in ("a", "b"):
            await host.start(id, ROOM, {"room": "1"}, key=API_KEY)
        perform, defective = Connection.perform, {next(iter(harness.gateway.connections))}

        def fail(connection: Connection, effects: Any) -> None:
            if connection in defective:
                raise ZeroDivisionError
            perform(connection, effects)

        monkeypatch.setattr(Connection, "perform", fail)
        ended = harness.oversight.revoke(lambda identity: identity.subject == OTHER_SUBJECT)
        assert (ended.connections, ended.subscriptions) == (2, 3)
        await expect_close(one, CloseReason.INTERNAL_ERROR)
        assert (await two.receive())["type"] == "connection_error"
        assert {(await host.receive())["id"] for _ in range(2)} == {"a", "b"}
        assert "ZeroDivisionError" in caplog.text
        # The same for a subscription that is ended on a connection that goes on: the connection ends then.
        await host.start("c", ROOM, {"room": "1"}, key=API_KEY)
        await host.start("d", ROOM, {"room": "1"}, key=API_KEY)
        defective.update(harness.gateway.connections)
        harness.oversight.revoke(lambda identity: identity.subject == OTHER_SUBJECT)
        await expect_close(host, CloseReason.INTERNAL_ERROR)
    assert harness.metrics.subscriptions == 0


async def test_a_connection_that_cannot_even_be_closed_spares_no_other(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with harness.connect(), harness.connect() as other:
        close, defective = Connection.close, next(iter(harness.gateway.connections))

        def fail(connection: Connection, reason: CloseReason, detail: str = "") -> None:
            if connection is defective:
                raise ZeroDivisionError
            close(connection, reason, detail)

        with monkeypatch.context() as patched:
            patched.setattr(Connection, "close", fail)
            harness.oversight.close_identity(SUBJECT)
        await expect_close(other, CloseReason.CLOSED_BY_OPERATOR)
        assert "a connection could not be closed" in caplog.text
