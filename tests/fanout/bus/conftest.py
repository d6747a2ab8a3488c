"""Real servers for the tests of the bus, which end with the tests in any case.

Whatever test uses `url` runs twice: on a single server and on a Redis Cluster of three primaries; but tests that put a
gate in front of the server, or are marked `single_server`, run on that only.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.bus.embedded import EmbeddedServer
from tests.fanout.bus.cluster_client import ClusterClient
from tests.fanout.bus.harness import Gate, Gateway
from tests.valkey import ValkeyCluster, run_valkey, run_valkey_cluster


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" in metafunc.fixturenames:
        is_single = "gate" in metafunc.fixturenames or metafunc.definition.get_closest_marker("single_server")
        metafunc.parametrize("server_kind", ["single"] if is_single else ["single", "cluster"], indirect=True)


@pytest.fixture
def server_kind(request: pytest.FixtureRequest) -> str:
    """What the test runs on: `single` or `cluster`."""
    return str(request.param)


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[ValkeyCluster]:
    """One cluster for all tests that stop none of its servers."""
    with run_valkey_cluster() as cluster:
        yield cluster


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
def server_url(server_kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of the shared server or cluster."""
    shared = request.getfixturevalue("shared_server" if server_kind == "single" else "shared_cluster")
    assert isinstance(shared, EmbeddedServer | ValkeyCluster)
    return shared.url


@pytest.fixture
async def redis(server_url: str, server_kind: str) -> AsyncIterator[Redis]:
    """The shared server or cluster, empty, as seen by somebody who is not a gateway."""
    client = Redis.from_url(server_url, decode_responses=True) if server_kind == "single" else ClusterClient(server_url)
    await client.flushall()
    await client.config_resetstat()
    yield client  # type: ignore[misc]  # the cluster's client has the same methods
    await client.aclose()


@pytest.fixture
def url(redis: Redis, server_url: str) -> str:
    """The URL of the shared server or cluster, which is empty."""
    return server_url


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


@pytest.fixture
def own_port() -> Iterator[int]:
    """The port of a single server."""
    with run_valkey() as server:
        yield server.port
