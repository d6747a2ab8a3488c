"""What operators do to live connections, seen from the clients; and what a change of the API ends, and what not."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from fanout.administration import build_api
from fanout.auth import ApiKeys
from fanout.engine import Registry
from fanout.errors import BadRequest
from fanout.gateway import Oversight
from fanout.gateway.connection import Connection
from fanout.model import AuthMode, CloseReason, FieldPolicy, Identity
from fanout.schema import Api, parse_schema
from fanout.settings import Settings, SubscriptionSettings
from tests.fanout.gateway.conftest import OTHER_KEY, Harness
from tests.served import API_KEY, AppSyncClient, wait_until_async

ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id content } }"
INVALIDATED = {"errorType": "SubscriptionInvalidated", "message": "Subscription complete."}
BY_ROOM = {"onCreateMessage": {"invalidation_filter": {"roomId": {"eq": "$args.roomId"}}}}
SUBJECT = ApiKeys([API_KEY]).check(API_KEY).subject
OTHER_SUBJECT = ApiKeys([OTHER_KEY]).check(OTHER_KEY).subject


async def expect_close(client: AppSyncClient, reason: CloseReason) -> None:
    await client.connection.wait_closed()
    assert (client.connection.close_code, client.connection.close_reason) == (reason.code, reason.text)


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
    harness.api.become(Api(parse_schema(OLD), Settings(subscriptions={"onCreateMessage": rules})))
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
        assert harness.subscriptions.guests == {}
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
        assert harness.subscriptions.guests == {}
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


OLD = """
type Message { id: ID! content: String author: String }
type Query { version: String }
type Mutation { createMessage(id: ID): Message deleteMessage(id: ID): Message }
type Subscription {
  onCreateMessage(roomId: ID, author: String): Message @aws_subscribe(mutations: ["createMessage"])
  onDeleteMessage: Message @aws_subscribe(mutations: ["deleteMessage"])
}
"""
NEW = """
type Message { id: ID! content: [String] }
type Query { version: String }
type Mutation { createMessage(id: ID): Message }
type Subscription {
  onCreateMessage(roomId: Int, author: String): Message @aws_subscribe(mutations: ["createMessage"])
}
"""
SELECTIONS = {
    "kept": "subscription { onCreateMessage { id content } }",
    "field gone": "subscription { onDeleteMessage { id } }",
    "selection gone": "subscription { onCreateMessage { id author } }",
    "argument's type": 'subscription { onCreateMessage(roomId: "a") { id } }',
}


def change_to(harness: Harness, sdl: str, **settings: Any) -> Any:
    other = Api(parse_schema(sdl), Settings(**settings))
    former = harness.api.planner
    return harness.oversight.change_api(
        lambda plan: other.planner.replan(plan, former), lambda: harness.api.become(other)
    )


async def test_a_change_of_the_schema_ends_only_what_is_not_valid_any_more(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings()))
    async with harness.connect() as client:
        for id, query in SELECTIONS.items():
            await client.subscribe(id, query)
        harness.deliver({"id": "1", "content": ["a"]})
        before = dict([await client.receive_data() for _ in range(2)])
        assert "String cannot represent" in before["kept"]["errors"][0]["message"]
        ended = await change_to(harness, NEW)
        assert (ended.connections, ended.subscriptions) == (0, 3)
        told = [await client.receive() for _ in range(3)]
        assert {message["id"] for message in told} == SELECTIONS.keys() - {"kept"}
        assert all(message["type"] == "error" for message in told)
        harness.deliver({"id": "2", "content": ["a"], "author": "b"})
        # The projection is that of the new schema.
        assert await client.receive_data() == ("kept", {"data": {"onCreateMessage": {"id": "2", "content": ["a"]}}})
        # The group is the one that new subscribers join.
        await client.subscribe("joined", SELECTIONS["kept"])
        assert harness.metrics.groups == 1
        # What has ended is free, and has left its buckets.
        assert {bucket.field for bucket in harness.directory.registered} == {"onCreateMessage"}
        assert (await client.start("field gone", SELECTIONS["field gone"]))["type"] == "error"
    assert harness.metrics.subscriptions_ended == {"schema-changed": 3}


async def test_those_who_would_get_other_events_are_asked_to_come_again(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings()))
    numeric = OLD.replace("roomId: ID", "roomId: Int")
    async with harness.connect() as changed, harness.connect() as kept:
        await changed.subscribe("s", "subscription { onCreateMessage(roomId: 1) { id } }")
        await kept.subscribe("s", SELECTIONS["kept"])
        ended = await change_to(harness, numeric)
        assert (ended.connections, ended.subscriptions) == (1, 1)
        await expect_close(changed, CloseReason.API_CHANGED)
        harness.deliver({"id": "2"})
        await kept.receive_data()
        # So are all on a field whose filters are set anew.
        rules = {"onCreateMessage": SubscriptionSettings(filter={"author": {"ne": "x"}})}
        ended = await change_to(harness, numeric, subscriptions=rules)
        assert ended.connections == 1
        await expect_close(kept, CloseReason.API_CHANGED)
    assert harness.metrics.groups == 0


async def test_a_pending_subscription_goes_through_a_change_too(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings()))
    harness.directory.open.clear()
    async with harness.connect() as client:
        for id in ("kept", "field gone"):
            await client.send_start(id, SELECTIONS[id])
        await wait_until_async(lambda: harness.metrics.groups == 2)
        await change_to(harness, NEW)
        assert (await client.receive())["id"] == "field gone"
        harness.directory.open.set()
        assert await client.receive() == {"type": "start_ack", "id": "kept"}
        harness.deliver({"id": "2", "content": ["a"]})
        assert await client.receive_data() == ("kept", {"data": {"onCreateMessage": {"id": "2", "content": ["a"]}}})


def finish(coroutine: Any) -> Any:
    """Run what is left of a coroutine that only gives way to others."""
    while True:
        try:
            next(coroutine)
        except StopIteration as stopped:
            return stopped.value


async def test_planning_anew_is_done_in_steps_and_misses_nobody(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Registry] = []

    def list_groups(registry: Registry) -> Any:
        looks.append(registry)
        return registry._groups.values()

    monkeypatch.setattr(Registry, "groups", property(list_groups))
    harness.api.become(Api(parse_schema(OLD), Settings(max_subscriptions_per_connection=1000)))
    async with harness.connect() as client, harness.connect() as late:
        for number in range(100):
            await client.subscribe(str(number), f'subscription {{ onCreateMessage(author: "{number}") {{ id }} }}')
        planned: list[Any] = []
        other = Api(parse_schema(NEW), Settings())
        former = harness.api.planner

        def replan(plan: Any) -> Any:
            planned.append(plan)
            return other.planner.replan(plan, former)

        # Each look at the clock takes 5 ms, so that a turn has a budget for a few plans.
        clock = itertools.count(0, 0.005)
        oversight = Oversight(harness.gateway, harness.registry, harness.metrics, lambda: next(clock))
        changing = oversight.change_api(replan, lambda: harness.api.become(other))
        coroutine = changing.__await__()
        next(coroutine)
        assert len(planned) == 4
        # Meanwhile the former API is served, and who comes then is looked at as well.
        await late.subscribe("s", SELECTIONS["selection gone"])
        assert finish(coroutine).subscriptions == 1
        assert len(planned) == 101
        # Once for those of the beginning, once for who came since, once at the end: not once for each step.
        assert len(looks) == 3
        assert (await late.receive())["type"] == "error"
        harness.deliver({"id": "2", "author": "7"})
        assert (await client.receive_data())[0] == "7"


async def test_planning_anew_ends_although_new_groups_keep_coming(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings(max_subscriptions_per_connection=1000)))
    async with harness.connect() as client:
        await client.subscribe("first", SELECTIONS["kept"])
        other = Api(parse_schema(NEW), Settings())
        former = harness.api.planner
        # Each plan takes a second, many times the budget, and after each of them there is a new one to be made.
        clock = itertools.count()
        oversight = Oversight(harness.gateway, harness.registry, harness.metrics, lambda: next(clock))
        changing = oversight.change_api(
            lambda plan: other.planner.replan(plan, former), lambda: harness.api.become(other)
        )
        coroutine = changing.__await__()
        number = 0
        with suppress(StopIteration):
            for number in range(100):
                next(coroutine)
                await client.subscribe(str(number), f'subscription {{ onCreateMessage(author: "{number}") {{ id }} }}')
        assert number < 10
        harness.deliver({"id": "2", "author": "0"})
        assert {(await client.receive_data())[0] for _ in range(2)} == {"first", "0"}


# What directives open: two identities on one gateway, API keys by default and OIDC beside them.
RULED = """
type Message @aws_api_key @aws_oidc { id: ID! content: String author: String @aws_oidc }
type Query { version: String }
type Mutation { createMessage(id: ID): Message }
type Subscription {
  onCreateMessage(roomId: ID): Message @aws_subscribe(mutations: ["createMessage"]) @aws_api_key @aws_oidc
}
"""
WITH_OIDC = Settings(oidc=({"issuer": "https://issuer.example"},))
WITH_AUTHOR = "subscription { onCreateMessage { id author } }"
WITHOUT_AUTHOR = "subscription { onCreateMessage { id content } }"
USER = Identity(AuthMode.OIDC, {}, "user")


def build_ruled(sdl: str = RULED, settings: Settings = WITH_OIDC) -> Api:
    return build_api(parse_schema(sdl), settings)


async def start_as(harness: Harness, client: AppSyncClient, identity: Identity | None, id: str, query: str) -> Any:
    """Start with an identity of its own, or the connection's."""
    harness.decide = (lambda _: identity) if identity else harness.authorizer.authorize_client
    await client.send_start(id, query)
    return await client.receive()


def denied(id: str, field: str, type_name: str) -> dict[str, Any]:
    error = {"errorType": "Unauthorized", "message": f"Not Authorized to access {field} on type {type_name}"}
    return {"type": "error", "id": id, "payload": {"errors": [error]}}


async def test_a_field_is_open_to_one_and_closed_to_another(harness: Harness) -> None:
    harness.api.become(build_ruled())
    async with harness.connect() as client:
        assert await start_as(harness, client, None, "1", WITH_AUTHOR) == denied("1", "author", "Message")
        assert await start_as(harness, client, USER, "2", WITH_AUTHOR) == {"type": "start_ack", "id": "2"}
        assert await start_as(harness, client, None, "3", WITHOUT_AUTHOR) == {"type": "start_ack", "id": "3"}
        # The plan is there by now; it is still not for everybody.
        assert await start_as(harness, client, None, "1", WITH_AUTHOR) == denied("1", "author", "Message")
        harness.deliver({"id": "x", "author": "ada", "content": "c"})
        got = dict([await client.receive_data() for _ in range(2)])
        assert got["2"] == {"data": {"onCreateMessage": {"id": "x", "author": "ada"}}}
        assert got["3"] == {"data": {"onCreateMessage": {"id": "x", "content": "c"}}}
    assert harness.metrics.refusals == {"Unauthorized": 2}


async def test_a_policy_closes_fields_of_who_has_it(harness: Harness) -> None:
    harness.api.become(build_ruled())
    strict = replace(USER, policy=FieldPolicy(deny=("Message.content",)))
    async with harness.connect() as client:
        answer = await start_as(harness, client, strict, "1", WITHOUT_AUTHOR)
        assert answer == denied("1", "content", "Message")
        assert (await start_as(harness, client, strict, "2", WITH_AUTHOR))["type"] == "start_ack"


async def test_a_change_of_the_rules_ends_what_is_not_open_any_more_and_nothing_else(harness: Harness) -> None:
    harness.api.become(build_ruled())
    async with harness.connect() as client:
        await start_as(harness, client, USER, "user", WITH_AUTHOR)
        await start_as(harness, client, USER, "shared", WITHOUT_AUTHOR)
        await start_as(harness, client, None, "key", WITHOUT_AUTHOR)
        assert harness.metrics.groups == 2
        assert harness.oversight.end_denied(harness.api.find_denial).subscriptions == 0
        harness.api.become(build_ruled(RULED.replace("content: String", "content: String @aws_api_key")))
        ended = harness.oversight.end_denied(harness.api.find_denial)
        assert (ended.connections, ended.subscriptions) == (0, 1)
        # Of two in one group only the one that it is closed to.
        assert await client.receive() == denied("shared", "content", "Message")
        # Modes alone, without another schema: nobody comes in as USER any more, who is the default mode's now.
        harness.api.open_as(build_ruled(settings=Settings(auth_mode=AuthMode.OIDC, oidc=WITH_OIDC.oidc)))
        assert harness.oversight.end_denied(harness.api.find_denial).subscriptions == 0
        harness.api.become(build_ruled(RULED.replace(") @aws_api_key @aws_oidc", ") @aws_iam")))
        assert harness.oversight.end_denied(harness.api.find_denial).subscriptions == 2
        told = [await client.receive() for _ in range(2)]
        assert told == [denied(id, "onCreateMessage", "Subscription") for id in ("user", "key")]
        assert harness.metrics.subscriptions == 0
    assert harness.metrics.subscriptions_ended == {"unauthorized": 3}


async def test_a_change_of_the_rules_reaches_who_waits_for_registration_or_a_decision(harness: Harness) -> None:
    harness.api.become(build_ruled())
    harness.directory.open.clear()
    later: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
    async with harness.connect() as client:
        harness.decide = lambda _: USER
        await client.send_start("pending", WITH_AUTHOR)
        await wait_until_async(lambda: harness.metrics.groups == 1)
        harness.decide = lambda _: later
        await client.send_start("deciding", WITH_AUTHOR)
        (connection,) = harness.gateway.connections
        await wait_until_async(lambda: len(connection.subscriptions) == 2)
        harness.api.become(build_ruled(RULED.replace("String @aws_oidc", "String @aws_iam")))
        assert harness.oversight.end_denied(harness.api.find_denial).subscriptions == 1
        assert await client.receive() == denied("pending", "author", "Message")
        later.set_result(USER)
        assert await client.receive() == denied("deciding", "author", "Message")
        harness.directory.open.set()
    await wait_until_async(lambda: harness.metrics.groups == 0)


async def test_fresh_credentials_that_open_less_end_what_they_close(harness: Harness) -> None:
    sdl = RULED.replace("String @aws_oidc", 'String @aws_cognito_user_pools(cognito_groups: ["staff"])')
    pool = {"user_pool_id": "eu-west-1_a"}
    harness.api.become(build_ruled(sdl.replace("@aws_oidc", "@aws_cognito_user_pools"), Settings(cognito=(pool,))))
    groups = {"staff"}
    harness.decide = lambda _: Identity(AuthMode.COGNITO, {}, "ada", groups=frozenset(groups))
    url = harness.url.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]

        async def send(type: str, **members: Any) -> None:
            await connection.send(orjson.dumps({"type": type, **members}).decode())

        await send("connection_init", payload={"Authorization": "t"})
        assert orjson.loads(await connection.recv())["type"] == "connection_ack"
        for id, query in (("1", WITH_AUTHOR), ("2", WITHOUT_AUTHOR)):
            await send("subscribe", id=id, payload={"query": query})
        await wait_until_async(lambda: harness.metrics.subscriptions == 2)
        groups.clear()
        await send("connection_init", payload={"Authorization": "t"})
        assert orjson.loads(await connection.recv())["type"] == "connection_ack"
        told = orjson.loads(await asyncio.wait_for(connection.recv(), 20))
        message = "Not Authorized to access author on type Message"
        assert told == {
            "type": "error",
            "id": "1",
            "payload": [{"message": message, "extensions": {"errorType": "Unauthorized"}}],
        }
        assert harness.metrics.subscriptions == 1


NOTES = """
type Note @aws_api_key @aws_oidc { id: ID! secret: String }
type Query { version: String }
type Mutation { createNote(id: ID): Note }
type Subscription {
  onCreateNote(secret: String, filter: String): Note
    @aws_subscribe(mutations: ["createNote"]) @aws_api_key @aws_oidc
}
"""
BY_ARGUMENT = 'subscription { onCreateNote(secret: "x") { id } }'
BY_FILTER = 'subscription { onCreateNote(filter: "{\\"secret\\":{\\"eq\\":\\"x\\"}}") { id } }'


@pytest.mark.parametrize("queries", [(BY_ARGUMENT, BY_FILTER), (BY_FILTER, BY_ARGUMENT)])
async def test_who_reads_a_closed_field_by_its_filter_is_ended_whoever_was_first(
    harness: Harness, queries: tuple[str, str]
) -> None:
    harness.api.become(build_ruled(NOTES))
    ids = {BY_ARGUMENT: "argument", BY_FILTER: "filter"}
    async with harness.connect() as client:
        for query in queries:
            await client.subscribe(ids[query], query)
        assert harness.metrics.groups == 1
        assert len(harness.subscriptions.own_plans) == 1
        for subscription_id in ("another", "and another"):
            await client.subscribe(subscription_id, queries[0])
        assert len(harness.subscriptions.own_plans) == 1
        closed = build_ruled(NOTES.replace("secret: String }", "secret: String @aws_oidc }"))
        former = harness.api.planner
        await harness.oversight.change_api(
            lambda plan: closed.planner.replan(plan, former), lambda: harness.api.become(closed)
        )
        ended = harness.oversight.end_denied(harness.api.find_denial)
        told = {(await client.receive())["id"] for _ in range(ended.subscriptions)}
        assert told == ({"filter"} if queries[0] == BY_ARGUMENT else {"filter", "another", "and another"})
        harness.deliver({"id": "1", "secret": "x"}, mutation="createNote")
        left = {"filter", "argument", "another", "and another"} - told
        assert {(await client.receive_data())[0] for _ in left} == left
    await wait_until_async(lambda: harness.metrics.subscriptions == 0)
    assert harness.subscriptions.own_plans == {}


async def test_a_change_of_the_api_tells_each_by_its_own_plan(harness: Harness) -> None:
    harness.api.become(build_ruled(NOTES))
    async with harness.connect() as one, harness.connect() as other:
        await one.subscribe("s", BY_ARGUMENT)
        await other.subscribe("s", BY_FILTER)
        (place,) = harness.subscriptions.own_plans
        before = harness.subscriptions.own_plans[place]

        async def change(sdl: str) -> tuple[int, int]:
            api, former = build_ruled(sdl), harness.api.planner
            ended = await harness.oversight.change_api(
                lambda plan: api.planner.replan(plan, former), lambda: harness.api.become(api)
            )
            return ended.connections, ended.subscriptions

        assert await change(NOTES.replace("id: ID! ", "id: ID! more: String ")) == (0, 0)
        assert harness.subscriptions.own_plans[place] is not before
        # What the first wrote is not valid any more; the other's is, by itself: it is asked to come again.
        assert await change(NOTES.replace("secret: String, ", "")) == (1, 2)
        assert (await one.receive())["type"] == "error"
        await expect_close(other, CloseReason.API_CHANGED)
    assert harness.subscriptions.own_plans == {}
    assert harness.metrics.groups == 0
