"""A gateway under a real uvicorn on loopback, with a clock and a bucket directory that the test controls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import uvicorn

from fanout.auth import ApiKeys, Authorizer
from fanout.engine import Dispatcher, Registry, Wheel
from fanout.gateway import (
    Backlogs,
    Gateway,
    Limits,
    Oversight,
    Server,
    Subscriptions,
    build_http_class,
    build_protocol_class,
)
from fanout.metrics import Metrics
from fanout.model import Bucket, Event
from fanout.schema import Api, load_chat_schema
from fanout.settings import Settings
from tests.served import API_KEY, connect_appsync, open_appsync

OTHER_KEY = "da2-test-other-key"


class Directory:
    """Where buckets are registered; a test can hold registrations back."""

    def __init__(self) -> None:
        self.registered: list[Bucket] = []
        self.open = asyncio.Event()
        self.open.set()

    async def register(self, buckets: Iterable[Bucket]) -> None:
        await self.open.wait()
        self.registered.extend(buckets)

    def release(self, buckets: Iterable[Bucket]) -> None:
        for bucket in buckets:
            self.registered.remove(bucket)


class Harness:
    """A gateway and its surroundings in this process."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**{"api_key": (API_KEY, OTHER_KEY), "shutdown_grace_ms": 1000, **settings})
        self.now_ms = 1_000_000
        self.metrics = Metrics()
        self.registry = Registry(self.metrics)
        self.wheel = Wheel(lambda: self.now_ms)
        self.wheel.advance(self.now_ms)
        self.directory = Directory()
        self.api = Api(load_chat_schema(), self.settings)
        self.authorizer = Authorizer(ApiKeys(self.settings.api_key), ApiKeys(()))
        self.dispatcher = Dispatcher(
            self.registry, self.api.subscriptions_of, self.settings.max_payload_bytes, self.metrics, self.wheel.now_ms
        )
        self.limits = Limits(self.settings, self.wheel.now_ms)
        self.subscriptions = Subscriptions(
            self.registry,
            lambda request: self.authorizer.authorize_client(request.headers),
            self.api.plan,
            self.directory,
            self.metrics,
            self.limits,
            Backlogs(self.registry, self.settings.max_outgoing_bytes, self.metrics),
        )
        self.gateway = Gateway(
            self.settings, self.authorizer.authorize_client, self.subscriptions, self.wheel, self.metrics, self.limits
        )
        self.gateway.start()
        self.oversight = Oversight(self.gateway, self.registry, self.metrics)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ids = 0

    async def start(self) -> None:
        config = uvicorn.Config(
            _answer_404,
            ws=build_protocol_class(self.gateway),
            http=build_http_class(self.gateway),
            lifespan="off",
            log_config=None,
        )
        self.server = Server(config, self.gateway, lambda: None)
        self._serving = asyncio.create_task(self.server._serve(sockets=[self._listener]))
        while not self.server.started:
            await asyncio.sleep(0)

    @property
    def stopped(self) -> bool:
        return self._serving.done()

    async def stop(self) -> None:
        self.server.should_exit = True
        await self._serving
        await self.subscriptions.stop()

    def pass_time(self, ms: int, step_ms: int = 1000) -> None:
        """Let the gateway's clock go on, tick by tick."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + step_ms)
            self.wheel.advance(self.now_ms)

    def deliver(self, *data: dict[str, Any], mutation: str = "createMessage") -> None:
        """Hand events to the dispatcher, as the bus does."""
        events = []
        for item in data:
            self._ids += 1
            events.append(Event(f"{self._ids}-0", mutation, item, b"", 0))
        self.dispatcher.deliver("s", events)

    def connect(self, **options: Any) -> Any:
        return connect_appsync(self.url, **options)

    def open(self, **options: Any) -> Any:
        return open_appsync(self.url, **options)


async def _answer_404(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def build_harness() -> AsyncIterator[Any]:
    harnesses = []

    async def build(**settings: Any) -> Harness:
        harness = Harness(**settings)
        await harness.start()
        harnesses.append(harness)
        return harness

    yield build
    for harness in harnesses:
        await harness.stop()


@pytest.fixture
async def harness(build_harness: Any) -> Harness:
    return await build_harness()
