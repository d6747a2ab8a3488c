"""Python `gql`, a client that nobody here wrote: its AppSync transport and its two general WebSocket transports."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.appsync_auth import AppSyncApiKeyAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportQueryError, TransportServerError
from gql.transport.websockets import WebsocketsTransport

from tests.served import API_KEY, Served, serve, wait_until_async

ON_CREATE = "subscription On($roomId: ID) { onCreateMessage(roomId: $roomId) { id roomId content } }"
ON_CREATE_FILTERED = "subscription On($filter: MessageFilterInput) { onCreateMessage(filter: $filter) { id content } }"
CREATE = "mutation M($input: CreateMessageInput!) { createMessage(input: $input) { id roomId content author } }"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as process:
        yield process


def appsync(served: Served, key: str = API_KEY) -> AppSyncWebsocketsTransport:
    authentication = AppSyncApiKeyAuthentication(host=f"127.0.0.1:{served.port}", api_key=key)
    return AppSyncWebsocketsTransport(url=f"ws://127.0.0.1:{served.port}/graphql", auth=authentication)


def transport_ws(served: Served) -> WebsocketsTransport:
    return WebsocketsTransport(
        url=f"ws://127.0.0.1:{served.port}/graphql",
        init_payload={"x-api-key": API_KEY},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )


def apollo_ws(served: Served) -> WebsocketsTransport:
    return WebsocketsTransport(
        url=f"ws://127.0.0.1:{served.port}/graphql",
        init_payload={"x-api-key": API_KEY},
        subprotocols=[WebsocketsTransport.APOLLO_SUBPROTOCOL],
    )


TRANSPORTS = pytest.mark.parametrize("build", [appsync, transport_ws, apollo_ws], ids=lambda build: build.__name__)


def ask(document: str, **variables: Any) -> GraphQLRequest:
    return GraphQLRequest(document, variable_values=variables)


async def take(events: AsyncGenerator[Any, None], count: int) -> list[Any]:
    return [await asyncio.wait_for(anext(events), 20) for _ in range(count)]


async def start(served: Served, events: AsyncGenerator[Any, None], live: int) -> asyncio.Task[list[Any]]:
    """Begin to iterate, and wait until the service says that the subscription is live."""
    task = asyncio.create_task(take(events, 2))
    await wait_until_async(lambda: task.done() or served.read_metric("fanout_subscriptions") == live)
    if task.done():
        await task  # raises why
    return task


@TRANSPORTS
async def test_subscribe_receive_and_unsubscribe(served: Served, build: Any) -> None:
    async with Client(transport=build(served)) as session:
        events = session.subscribe(ask(ON_CREATE, roomId="r1"))
        receiving = await start(served, events, 1)
        for number, room in enumerate(("r1", "r2", "r1")):
            served.publish("createMessage", {"id": str(number), "roomId": room, "content": "c"})
        received = await receiving
        assert [event["onCreateMessage"]["id"] for event in received] == ["0", "2"]
        await events.aclose()
        await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 0)
        again = session.subscribe(ask(ON_CREATE, roomId="r3"))
        receiving = await start(served, again, 1)
        for number in range(2):
            served.publish("createMessage", {"id": str(number), "roomId": "r3"})
        assert len(await receiving) == 2
        await again.aclose()


@TRANSPORTS
async def test_enhanced_filters(served: Served, build: Any) -> None:
    condition = {"or": [{"content": {"beginsWith": "hello"}}, {"author": {"in": ["ann", "bob"]}}]}
    async with Client(transport=build(served)) as session:
        events = session.subscribe(ask(ON_CREATE_FILTERED, filter=condition))
        receiving = await start(served, events, 1)
        for id, content, author in (("1", "bye", "eve"), ("2", "hello you", "eve"), ("3", "bye", "bob")):
            served.publish("createMessage", {"id": id, "roomId": "r", "content": content, "author": author})
        assert [event["onCreateMessage"]["id"] for event in await receiving] == ["2", "3"]
        await events.aclose()


@TRANSPORTS
async def test_two_subscriptions_on_one_connection(served: Served, build: Any) -> None:
    async with Client(transport=build(served)) as session:
        first = session.subscribe(ask(ON_CREATE, roomId="a"))
        second = session.subscribe(ask(ON_CREATE, roomId="b"))
        receiving_first = await start(served, first, 1)
        receiving_second = await start(served, second, 2)
        for number, room in enumerate("abab"):
            served.publish("createMessage", {"id": str(number), "roomId": room})
        assert [event["onCreateMessage"]["id"] for event in await receiving_first] == ["0", "2"]
        assert [event["onCreateMessage"]["id"] for event in await receiving_second] == ["1", "3"]
        await first.aclose()
        await second.aclose()


@TRANSPORTS
async def test_a_document_that_is_not_valid_is_an_error_of_that_query(served: Served, build: Any) -> None:
    async with Client(transport=build(served)) as session:
        with pytest.raises(TransportQueryError, match="nope"):
            await anext(session.subscribe(ask("subscription { onCreateMessage { nope } }")))
        events = session.subscribe(ask(ON_CREATE))
        receiving = await start(served, events, 1)
        for number in range(2):
            served.publish("createMessage", {"id": str(number), "roomId": "r"})
        await receiving
        await events.aclose()


async def test_a_wrong_key_is_told(served: Served) -> None:
    with pytest.raises(TransportServerError, match="Unauthorized"):
        async with Client(transport=appsync(served, key="wrong")):
            pass


async def test_a_mutation_over_http_reaches_the_subscriber(served: Served) -> None:
    http = AIOHTTPTransport(url=f"{served.url}/graphql", headers={"x-api-key": API_KEY})
    async with Client(transport=appsync(served)) as session, Client(transport=http) as publishing:
        events = session.subscribe(ask(ON_CREATE, roomId="http"))
        receiving = await start(served, events, 1)
        sent = [
            await publishing.execute(ask(CREATE, input={"roomId": "http", "content": f"c{n}", "author": "a"}))
            for n in range(2)
        ]
        received = await receiving
        assert [event["onCreateMessage"]["id"] for event in received] == [item["createMessage"]["id"] for item in sent]
        await events.aclose()


async def test_introspection_builds_the_schema(served: Served) -> None:
    http = AIOHTTPTransport(url=f"{served.url}/graphql", headers={"x-api-key": API_KEY})
    client = Client(transport=http, fetch_schema_from_transport=True)
    async with client:
        assert client.schema is not None
        assert client.schema.subscription_type is not None
        assert "onCreateMessage" in client.schema.subscription_type.fields


async def test_reconnect_after_the_service_was_restarted() -> None:
    with serve() as first:
        port = first.port
        client = Client(transport=appsync(first))
        session = await client.connect_async(reconnecting=True, retry_connect=True)
        events = session.subscribe(ask(ON_CREATE, roomId="r"))
        receiving = await start(first, events, 1)
        for number in range(2):
            first.publish("createMessage", {"id": str(number), "roomId": "r"})
        assert len(await receiving) == 2
        await asyncio.to_thread(first.stop)
    with serve("--port", str(port)) as second, warnings.catch_warnings():
        received = await _subscribe_until_connected(second, session)
        assert [event["onCreateMessage"]["id"] for event in received] == ["10", "11"]
        await client.close_async()
        await asyncio.to_thread(second.stop)


async def _subscribe_until_connected(served: Served, session: Any) -> list[Any]:
    """gql's reconnecting session connects anew by itself; a subscription is asked for again by its user."""
    for _ in range(50):
        events = session.subscribe(ask(ON_CREATE, roomId="r"))
        task = asyncio.create_task(take(events, 2))
        await wait_until_async(lambda task=task: task.done() or served.read_metric("fanout_subscriptions") == 1)
        if not task.done():
            for number in (10, 11):
                served.publish("createMessage", {"id": str(number), "roomId": "r"})
            return await task
        assert task.exception() is not None
    raise AssertionError("the session did not reconnect")
