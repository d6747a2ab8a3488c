"""A gateway under a real uvicorn on loopback, with a clock and a bucket directory that the test controls."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from fanout.api import Api
from fanout.auth import ApiKeys, Authorizer, Decision
from fanout.engine import CatchUp, Chunk, Dispatcher, HistoryGone, Look, Place, Places, Registry, Token, Wheel
from fanout.errors import BadRequest, PositionExpired
from fanout.gateway import (
    Backlogs,
    Ended,
    Gateway,
    Limits,
    Oversight,
    Server,
    Subscriptions,
    build_http_class,
    build_protocol_class,
)
from fanout.metrics import Metrics
from fanout.model import Bucket, Call, CloseReason, Event, Identity
from fanout.schema import load_chat_schema
from fanout.settings import Settings
from tests.scripted_resolver import ScriptedResolver, by_room
from tests.served import API_KEY, AppSyncClient, connect_appsync, open_appsync

OTHER_KEY = "da2-test-other-key"
IN_ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id } }"
FIELD = ("Subscription", "onCreateMessage")


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


class Past:
    """The past of the one stream `s`, as far as a test has put events into it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.may_be_read = asyncio.Event()
        self.may_be_read.set()
        self.is_trimmed = False

    def taken(self) -> Places:
        return ((len(self.events), 0),)

    def write_token(self, places: Places) -> bytes:
        return b"at-%d" % places[0][0]

    def write_position(self, stream: str, event_id: str) -> bytes:
        return b"at-" + event_id.partition("-")[0].encode()

    def read_token(self, text: str) -> Token:
        if not text.startswith("at-"):
            raise BadRequest("not a position")
        return Token((), ((int(text.removeprefix("at-")), 0),))

    def find_stream(self, name: str) -> int:
        return 0

    async def look(self, tokens: Sequence[Token | None]) -> Look:
        end = self.taken()
        return Look(end, [end if token is None else self._check(token) for token in tokens])

    async def advance(self) -> None:
        raise AssertionError("everything is taken at once here")

    async def read(self, stream: int, after: Place, up_to: Place) -> Chunk:
        await self.may_be_read.wait()
        if self.is_trimmed:
            raise HistoryGone
        events = self.events[after[0] : up_to[0]][:10]
        return Chunk(
            [((after[0] + number, 0), event) for number, event in enumerate(events, 1)], (after[0] + len(events), 0)
        )

    def _check(self, token: Token) -> Places | PositionExpired:
        return token.places if token.places <= self.taken() else PositionExpired("it is ahead")


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
        self.past = Past()
        self.api = Api(load_chat_schema(), self.settings)
        self.authorizer = Authorizer(ApiKeys(self.settings.api_key), ApiKeys(()))
        self.holds: Callable[[Identity], bool] = lambda identity: True
        self.decide: Callable[[Call], Decision] = self.authorizer.authorize_client
        self.dispatcher = Dispatcher(
            self.registry,
            self.api.subscriptions_of,
            self.settings.max_payload_bytes,
            self.metrics,
            self.wheel.now_ms,
            self.past.write_position,
        )
        self.catch_up = CatchUp(self.past, self.dispatcher, self.metrics)
        self.limits = Limits(self.settings, self.wheel.now_ms)
        self.subscriptions = Subscriptions(
            self.registry,
            self.authorize,
            self.api.plan,
            self.directory,
            self.metrics,
            self.limits,
            Backlogs(self.registry, self.settings.max_outgoing_bytes, self.metrics),
            self.catch_up,
            self.past.read_token,
            self.api.recheck,
            lambda identity: self.holds(identity),
            self.settings.request_execution_timeout_ms,
        )
        self.gateway = Gateway(
            self.settings,
            self.authorize,
            self.subscriptions,
            self.wheel,
            self.metrics,
            self.limits,
            lambda identity: self.holds(identity),
            lambda: self.now_ms / 1000,
        )
        self.gateway.start()
        self.oversight = Oversight(self.gateway, self.registry, self.metrics)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ids = 0

    def authorize(self, call: Call) -> Decision:
        """Decides for the gateway; a test puts its own in place of it."""
        return self.decide(call)

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
        self.past.events += events
        self.catch_up.deliver("s", events)

    async def change_api(self, api: Api) -> Ended:
        """Serve another API from now on, as a reload does."""
        former = self.api.planner
        return await self.oversight.change_api(
            lambda plan: api.planner.replan(plan, former), lambda: self.api.become(api)
        )

    def connect(self, **options: Any) -> Any:
        return connect_appsync(self.url, **options)

    def open(self, **options: Any) -> Any:
        return open_appsync(self.url, **options)


async def expect_close(client: AppSyncClient, reason: CloseReason, detail: str = "") -> None:
    """Wait for the end, and be told this; a detail is told in place of the reason's own text."""
    await asyncio.wait_for(client.connection.wait_closed(), 20)
    assert (client.connection.close_code, client.connection.close_reason) == (reason.code, detail or reason.text)


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


class OtherClient:
    """A client of another dialect than AppSync's."""

    def __init__(self, socket: ClientConnection, start: str) -> None:
        self._socket = socket
        self._start = start

    async def send(self, message: dict[str, Any]) -> None:
        await self._socket.send(orjson.dumps(message).decode())

    async def send_start(self, id: str, query: str, variables: dict[str, Any]) -> None:
        await self.send({"id": id, "type": self._start, "payload": {"query": query, "variables": variables}})

    async def start(self, id: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        await self.send_start(id, query, variables)
        return await self.receive(id)

    async def receive(self, id: str) -> dict[str, Any]:
        """The next message for this subscription."""
        while True:
            message: dict[str, Any] = orjson.loads(await asyncio.wait_for(self._socket.recv(), 20))
            if message.get("id") == id:
                return message


@asynccontextmanager
async def open_other(harness: Harness, dialect: str, token: str = "") -> AsyncIterator[OtherClient]:
    name, start = ("graphql-transport-ws", "subscribe") if dialect == "transport_ws" else ("graphql-ws", "start")
    url = harness.url.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=[name]) as socket:  # type: ignore[list-item]
        client = OtherClient(socket, start)
        await client.send({"type": "connection_init", "payload": {"x-api-key": API_KEY, "Authorization": token}})
        assert orjson.loads(await socket.recv())["type"] == "connection_ack"
        yield client


@pytest.fixture
async def resolver(harness: Harness) -> ScriptedResolver:
    resolver = ScriptedResolver(by_room)
    harness.api.become(Api(load_chat_schema(), harness.settings, resolvers={FIELD: resolver}))
    return resolver


def serve_anew(harness: Harness, *resolvers: ScriptedResolver) -> Api:
    return Api(load_chat_schema(), harness.settings, resolvers=dict.fromkeys([FIELD], *resolvers) if resolvers else {})
