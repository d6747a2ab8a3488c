"""What directives open to whom: when subscribing, and when rules or credentials change under who is subscribed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from fanout.api import Api
from fanout.model import AuthMode, CloseReason, FieldPolicy, Identity
from fanout.reload import build_api
from fanout.schema import parse_schema
from fanout.settings import Settings
from tests.fanout.gateway.conftest import Harness, expect_close
from tests.served import AppSyncClient, wait_until_async

# Two identities on one gateway, API keys by default and OIDC beside them.
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
        await harness.change_api(build_ruled(NOTES.replace("secret: String }", "secret: String @aws_oidc }")))
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
            ended = await harness.change_api(build_ruled(sdl))
            return ended.connections, ended.subscriptions

        assert await change(NOTES.replace("id: ID! ", "id: ID! more: String ")) == (0, 0)
        assert harness.subscriptions.own_plans[place] is not before
        # What the first wrote is not valid any more; the other's is, by itself: it is asked to come again.
        assert await change(NOTES.replace("secret: String, ", "")) == (1, 2)
        assert (await one.receive())["type"] == "error"
        await expect_close(other, CloseReason.API_CHANGED)
    assert harness.subscriptions.own_plans == {}
    assert harness.metrics.groups == 0
