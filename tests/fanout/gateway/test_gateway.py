"""All connections together: who is accepted, what is counted, and how everybody is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from fanout.model import CloseReason
from tests.fanout.gateway.conftest import Harness
from tests.served import API_KEY, encode_header, wait_until_async

ON_CREATE = "subscription { onCreateMessage { id } }"


async def test_only_subscribers_are_told_that_events_were_missed(harness: Harness) -> None:
    async with harness.connect() as subscribed, harness.connect() as idle:
        await subscribed.subscribe("s", ON_CREATE)
        harness.gateway.close_subscribers("inbox-trimmed")
        await asyncio.wait_for(subscribed.connection.wait_closed(), 20)
        assert subscribed.connection.close_code == CloseReason.EVENTS_MISSED.code
        assert "inbox-trimmed" in str(subscribed.connection.close_reason)
        await idle.subscribe("s", ON_CREATE)


@pytest.mark.parametrize("path", ["/graphql", "/graphql/realtime"])
async def test_both_paths_are_served(harness: Harness, path: str) -> None:
    async with harness.connect(path=path) as client:
        await client.subscribe("s", ON_CREATE)
        assert client.connection.subprotocol == "graphql-ws"
        assert harness.metrics.connections["appsync"] == 1


async def test_another_path_is_refused(harness: Harness) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await connect(harness.url.replace("http", "ws") + "/nothing")
    assert caught.value.response.status_code == 404
    assert harness.metrics.refusals["upgrade"] == 1


async def test_graphql_transport_ws_on_the_same_path(harness: Harness) -> None:
    async with connect(harness.url.replace("http", "ws") + "/graphql", subprotocols=["graphql-transport-ws"]) as ws:  # type: ignore[list-item]
        await ws.send('{"type":"connection_init","payload":{"x-api-key":"%s"}}' % API_KEY)
        assert '"connection_ack"' in str(await ws.recv())
        assert harness.metrics.connections["transport_ws"] == 1
        await ws.send('{"type":"subscribe","id":"1","payload":{"query":"%s"}}' % ON_CREATE)
        await ws.send('{"type":"ping"}')
        assert '"pong"' in str(await ws.recv())
        harness.deliver({"id": "7"})
        message = str(await ws.recv())
        assert '"next"' in message
        assert '{"data":{"onCreateMessage":{"id":"7"}}}' in message


async def test_lives_are_spread(build_harness: Any) -> None:
    harness = await build_harness(max_lifetime_ms=1000, lifetime_jitter=0.5)
    lives = {harness.gateway.end_of_life_ms(harness.gateway.draw_serial(7000)) - 7000 for _ in range(200)}
    assert min(lives) >= 500
    assert max(lives) <= 1000
    assert len(lives) > 50


async def test_compression_is_agreed_only_when_it_is_set(build_harness: Any) -> None:
    for compression in (False, True):
        harness = await build_harness(compression=compression)
        async with harness.connect(subprotocols=["graphql-ws", encode_header({"x-api-key": API_KEY})]) as client:
            await client.subscribe("s", ON_CREATE)
            agreed = client.connection.response.headers.get("Sec-WebSocket-Extensions", "")
            assert ("permessage-deflate" in agreed) == compression
            harness.deliver({"id": "x" * 1000})
            assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "x" * 1000


async def test_compressed_and_plain_clients_read_the_same(build_harness: Any) -> None:
    harness = await build_harness(compression=True)
    async with (
        harness.connect() as compressed,
        harness.connect(compression=None) as plain,
        harness.connect(extensions=[ClientPerMessageDeflateFactory(server_max_window_bits=9)]) as narrow,
    ):
        for client in (compressed, plain, narrow):
            await client.subscribe("s", ON_CREATE)
        assert harness.metrics.groups == 2
        harness.deliver({"id": "abc" * 1000}, {"id": "short"})
        for client in (compressed, plain, narrow):
            ids = [(await client.receive_data())[1]["data"]["onCreateMessage"]["id"] for _ in range(2)]
            assert ids == ["abc" * 1000, "short"]


async def test_an_apollo_client_without_parameters_is_counted_as_what_it_turns_out_to_be(harness: Harness) -> None:
    async with connect(
        harness.url.replace("http", "ws") + "/graphql",
        subprotocols=["graphql-ws"],  # type: ignore[list-item]
        additional_headers={"x-api-key": API_KEY},
    ) as ws:
        await ws.send('{"type":"connection_init"}')
        assert '"connection_ack"' in str(await ws.recv())
        assert harness.metrics.connections["appsync"] == 1
        await ws.send('{"type":"start","id":"1","payload":{"query":"%s"}}' % ON_CREATE)
        assert str(await ws.recv()) == '{"type":"ka"}'
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        assert harness.metrics.connections["appsync"] == 0
        assert harness.metrics.connections["apollo_ws"] == 1
    await wait_until_async(lambda: harness.metrics.connections.total() == 0)


async def test_pages_that_are_not_listed_may_not_connect_and_that_comes_first(build_harness: Any) -> None:
    listed, foreign = "https://app.example.com", "https://evil.example"
    harness = await build_harness(allowed_origins=(listed,), max_connections=2, max_connects_per_second_per_address=1)
    async with harness.connect(origin=listed) as client, harness.connect() as program:
        for connected in (client, program):
            await connected.subscribe("s", ON_CREATE)
        for options in ({"origin": foreign}, {"origin": listed, "additional_headers": {"Origin": foreign}}):
            with pytest.raises(InvalidStatus) as caught:
                await harness.connect(**options).__aenter__()
            assert caught.value.response.status_code == 403  # although the gateway is full
            assert b"allowed_origins" in (caught.value.response.body or b"")
            assert "Retry-After" not in caught.value.response.headers
    assert harness.metrics.refusals == {"origin": 2}


async def test_the_header_of_an_upgrade_is_bounded(build_harness: Any) -> None:
    harness = await build_harness(max_request_header_bytes=4096)
    fits, does_not = {"x-more": "x" * 3000}, {"x-more": "x" * 3000, "x-too": "y" * 1000}
    async with harness.connect(additional_headers=fits) as client:
        await client.subscribe("s", ON_CREATE)
    with pytest.raises(InvalidStatus) as caught:
        await harness.connect(additional_headers=does_not).__aenter__()
    assert caught.value.response.status_code == 431
    assert harness.metrics.refusals == {"request-header-too-large": 1}
