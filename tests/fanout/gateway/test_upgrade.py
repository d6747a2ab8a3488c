"""uvicorn's contract: it is given a class, and waits for its connections when it shuts down."""

from __future__ import annotations

import asyncio
import gc

from fanout.gateway import Connection, HttpProtocol, build_protocol_class
from fanout.model import CloseReason
from tests.fanout.gateway.conftest import Harness


async def test_connections_are_of_this_gateway_and_known_to_uvicorn(harness: Harness) -> None:
    build = build_protocol_class(harness.gateway)
    assert callable(build)
    async with harness.connect():
        (connection,) = harness.server.server_state.connections
        assert isinstance(connection, Connection)


async def test_uvicorn_closes_them_at_shutdown(harness: Harness) -> None:
    async with harness.connect() as client:
        harness.server.should_exit = True
        await asyncio.wait_for(client.connection.wait_closed(), 20)
        assert client.connection.close_code == CloseReason.DRAINING.code
    while harness.server.server_state.connections:
        await asyncio.sleep(0)


async def test_an_upgrade_leaves_nothing_to_the_garbage_collector(harness: Harness) -> None:
    gc.collect()
    gc.disable()
    try:
        async with harness.connect():
            assert not [found for found in gc.get_objects() if isinstance(found, HttpProtocol)]
    finally:
        gc.enable()
