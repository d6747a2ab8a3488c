"""Python `gql` with the tokens of an authorizer function: examples/authorizer.py, asked in both ways."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.appsync_auth import AppSyncJWTAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from examples.authorizer import Handler
from tests.served import API_KEY, Served, serve, wait_until_async
from tests.structure.sources import ROOT

CONFIGURATION = """
auth_mode = "AWS_LAMBDA"
[lambda_authorizer]
{source}
[subscriptions.onCreateMessage]
filter = {{ roomId = {{ eq = "$identity.resolverContext.tenant" }} }}
"""
ON_CREATE = GraphQLRequest("subscription { onCreateMessage { id roomId } }")
LIST = GraphQLRequest('{ listMessages(roomId: "red") { id } }')
ANN, NOBODY = "token-of-ann", "token-of-nobody"


@contextmanager
def run_example() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f'url = "http://127.0.0.1:{server.server_port}/"'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def name_example() -> Iterator[str]:
    yield 'function = "examples.authorizer:authorize"'


@pytest.fixture(scope="module", params=[run_example, name_example], ids=["url", "function"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("configuration") / "fanout.toml"
    with request.param() as source:
        path.write_text(CONFIGURATION.format(source=source))
        with serve("--config", str(path), directory=ROOT) as process:
            yield process


def appsync(served: Served, token: str) -> AppSyncWebsocketsTransport:
    authentication = AppSyncJWTAuthentication(host=f"127.0.0.1:{served.port}", jwt=token)
    return AppSyncWebsocketsTransport(url=f"ws://127.0.0.1:{served.port}/graphql", auth=authentication)


def transport_ws(served: Served, token: str) -> WebsocketsTransport:
    return WebsocketsTransport(
        url=f"ws://127.0.0.1:{served.port}/graphql",
        init_payload={"Authorization": token},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )


def http(served: Served, headers: dict[str, str]) -> AIOHTTPTransport:
    return AIOHTTPTransport(url=f"{served.url}/graphql", headers=headers)


TRANSPORTS = pytest.mark.parametrize("build", [appsync, transport_ws], ids=lambda build: build.__name__)


@TRANSPORTS
async def test_a_subscriber_gets_what_its_context_says(served: Served, build: Any) -> None:
    async with Client(transport=build(served, ANN)) as session:
        events = session.subscribe(ON_CREATE)
        receiving = asyncio.create_task(anext(events))
        await wait_until_async(lambda: receiving.done() or served.read_metric("fanout_subscriptions") == 1)
        for number, room in enumerate(("blue", "red")):
            served.publish("createMessage", {"id": str(number), "roomId": room})
        assert await asyncio.wait_for(receiving, 20) == {"onCreateMessage": {"id": "1", "roomId": "red"}}
        await events.aclose()
    await wait_until_async(lambda: served.read_metric("fanout_connections") == 0)


@TRANSPORTS
async def test_a_token_of_nobody_does_not_connect(served: Served, build: Any) -> None:
    with pytest.raises(TransportError):
        async with Client(transport=build(served, NOBODY)) as session:
            await anext(session.subscribe(ON_CREATE))


async def test_requests_are_decided_in_the_same_way(served: Served) -> None:
    async with Client(transport=http(served, {"Authorization": ANN})) as session:
        assert await session.execute(LIST) == {"listMessages": None}
    for headers in ({"Authorization": NOBODY}, {"x-api-key": ANN}, {}):
        with pytest.raises(TransportError, match="not authorized to make this call"):
            async with Client(transport=http(served, headers)) as session:
                await session.execute(LIST)


async def test_a_key_is_asked_before_a_token_and_is_of_another_mode(served: Served) -> None:
    async with Client(transport=http(served, {"x-api-key": API_KEY, "Authorization": NOBODY})) as session:
        with pytest.raises(TransportQueryError, match="Not Authorized to access listMessages on type Query"):
            await session.execute(LIST)


async def test_denied_fields_are_closed(served: Served) -> None:
    delete = GraphQLRequest('mutation { deleteMessage(input: {id: "1", roomId: "red"}) { id } }')
    async with Client(transport=http(served, {"Authorization": ANN})) as session:
        with pytest.raises(TransportQueryError, match="Not Authorized to access deleteMessage on type Mutation"):
            await session.execute(delete)


def test_its_tokens_are_no_publisher_s(served: Served) -> None:
    event = {"mutation": "createMessage", "data": {"id": "1"}}
    response = httpx.post(f"{served.url}/events", headers={"Authorization": ANN}, json=event)
    assert response.status_code == 401


def test_no_token_is_in_the_log(served: Served) -> None:
    assert not [line for line in (*served.log, *served.output) if ANN in line or NOBODY in line]


async def test_anonymous_clients_are_let_in_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "fanout.toml"
    path.write_text("anonymous = true\n")
    with serve("--config", str(path)) as served:
        assert any("whoever gives no credentials" in line for line in served.output)
        plain = WebsocketsTransport(
            url=f"ws://127.0.0.1:{served.port}/graphql", subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL]
        )
        async with Client(transport=plain) as session:
            events = session.subscribe(ON_CREATE)
            receiving = asyncio.create_task(anext(events))
            await wait_until_async(lambda: receiving.done() or served.read_metric("fanout_subscriptions") == 1)
            served.publish("createMessage", {"id": "1", "roomId": "a"})
            assert (await asyncio.wait_for(receiving, 20))["onCreateMessage"]["id"] == "1"
            await events.aclose()  # else closing waits 10 s for it
        async with Client(transport=http(served, {})) as session:
            assert await session.execute(LIST) == {"listMessages": None}
        for path_of_others in ("events", "admin/reload"):
            assert httpx.post(f"{served.url}/{path_of_others}", json={}).status_code in (401, 404)
