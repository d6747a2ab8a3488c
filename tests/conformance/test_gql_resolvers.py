"""Python `gql` on examples/chat: its subscription through a resolver's filter, its mutation through a resolver."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from gql import Client
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError

from tests.conformance.test_gql import TRANSPORTS, ask, take
from tests.served import API_KEY, Served, serve, wait_until_async
from tests.structure.sources import ROOT

ON_CREATE = "subscription On($roomId: ID!) { onCreateMessage(roomId: $roomId) { id author content } }"
CREATE = "mutation Create($input: CreateMessageInput!) { createMessage(input: $input) { id roomId author content } }"
CLOSE = "mutation Close($roomId: ID!) { closeRoom(roomId: $roomId) { id } }"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve("--config", "examples/chat/fanout.toml", directory=ROOT) as process:
        yield process


@TRANSPORTS
async def test_messages_of_a_room_come_as_the_mutation_made_them(served: Served, build: Any) -> None:
    http = AIOHTTPTransport(url=f"{served.url}/graphql", headers={"x-api-key": API_KEY})
    async with Client(transport=build(served)) as session, Client(transport=http) as sending:
        events = session.subscribe(ask(ON_CREATE, roomId="garden"))
        receiving = asyncio.create_task(take(events, 2))
        await wait_until_async(lambda: receiving.done() or served.read_metric("fanout_subscriptions") == 1)
        # Published past the mutation: the filter keeps it back.
        served.publish("createMessage", {"id": "0", "roomId": "garden", "content": ""})
        sent = []
        for room, content in (("cellar", "no"), ("garden", " one "), ("garden", "two")):
            message = {"roomId": room, "content": content, "author": "ann"}
            sent.append((await sending.execute(ask(CREATE, input=message)))["createMessage"])
        received = [event["onCreateMessage"] for event in await receiving]
        assert [event["content"] for event in received] == ["one", "two"]
        assert [event["id"] for event in received] == [message["id"] for message in sent[1:]]
        await events.aclose()
    await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 0)


async def test_errors_are_appsyncs(served: Served) -> None:
    http = AIOHTTPTransport(url=f"{served.url}/graphql", headers={"x-api-key": API_KEY})
    async with Client(transport=http) as sending:
        with pytest.raises(TransportQueryError, match="A message has content") as refused:
            await sending.execute(ask(CREATE, input={"roomId": "garden", "content": " "}))
    [error] = refused.value.errors
    assert (error["errorType"], error["errorInfo"]) == ("ValidationError", {"field": "content"})
    assert (error["path"], refused.value.data) == (["createMessage"], {"createMessage": None})


@TRANSPORTS
async def test_a_subscription_that_its_resolver_refuses(served: Served, build: Any) -> None:
    async with Client(transport=build(served)) as session:
        with pytest.raises(TransportQueryError, match="Which room"):
            await anext(session.subscribe(ask(ON_CREATE, roomId=" ")))


@TRANSPORTS
async def test_closing_a_room_ends_its_subscription(served: Served, build: Any) -> None:
    http = AIOHTTPTransport(url=f"{served.url}/graphql", headers={"x-api-key": API_KEY})
    async with Client(transport=build(served)) as session, Client(transport=http) as sending:
        events = session.subscribe(ask(ON_CREATE, roomId="doomed"))
        receiving = asyncio.create_task(take(events, 1))
        await wait_until_async(lambda: receiving.done() or served.read_metric("fanout_subscriptions") == 1)
        assert await sending.execute(ask(CLOSE, roomId="doomed")) == {"closeRoom": {"id": "doomed"}}
        with pytest.raises(TransportQueryError, match="Subscription complete"):
            await receiving
    await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 0)
