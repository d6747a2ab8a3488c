"""A real Valkey server for the tests of the bus. It listens on a unix socket and ends with the tests in any case."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.bus.embedded import EmbeddedServer
from tests.fanout.bus.harness import Gate, Gateway


@pytest.fixture(scope="session")
def shared_server() -> Iterator[EmbeddedServer]:
    """One server for all tests that do not stop it."""
    server = EmbeddedServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory with a path short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="bus-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture
def own_server(short_directory: Path) -> Iterator[EmbeddedServer]:
    """A server of this test's own, which it may kill and start again; it keeps its data."""
    server = EmbeddedServer(directory=short_directory, append_only=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(shared_server: EmbeddedServer) -> AsyncIterator[Redis]:
    """The shared server, empty, as seen by somebody who is not a gateway."""
    client = Redis.from_url(shared_server.url, decode_responses=True)
    await client.flushall()
    await client.config_resetstat()
    yield client
    await client.aclose()


@pytest.fixture
def url(redis: Redis, shared_server: EmbeddedServer) -> str:
    """The URL of the shared server, which is empty."""
    return shared_server.url


@pytest.fixture
async def link(url: str) -> AsyncIterator[Link]:
    link = Link(Endpoint(url), "test")
    yield link
    await link.close()


@pytest.fixture
async def start_gateway() -> AsyncIterator[Callable[..., Awaitable[Gateway]]]:
    """Start a gateway on a URL, with settings; all of them are stopped at the end."""
    started: list[Gateway] = []

    async def start(url: str, **settings: Any) -> Gateway:
        gateway = Gateway(url, **settings)
        await gateway.bus.start()
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        await gateway.bus.stop()


@pytest.fixture
async def gate(url: str, short_directory: Path) -> AsyncIterator[Gate]:
    """A gate in front of the shared server."""
    async with Gate(url, short_directory / "gate.sock").running() as gate:
        yield gate
