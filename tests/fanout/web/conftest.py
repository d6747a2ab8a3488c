"""The whole application over an event bus that only remembers; schema, executor and keys are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fanout.api import Api
from fanout.auth import ApiKeys, Authorizer
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import KeyKind, NewEvent
from fanout.schema import ApiSchema, parse_schema
from fanout.settings import Settings
from fanout.web import create_app

CLIENT_KEY = "da2-client0000000000000000000"
PUBLISHER_KEY = "da2-publisher0000000000000000"
ADMIN_KEY = "da2-admin00000000000000000000"

SDL = """
type Message { id: ID! roomId: ID! text: String author: Author tags: [String!] createdAt: AWSDateTime }
type Author { id: ID! name: String }
input AuthorInput { id: ID! name: String }
input MessageInput { roomId: ID! text: String author: AuthorInput tags: [String!] meta: AWSJSON and: [MessageInput] }
type Query { getRoom(id: ID!): Message }
type Mutation {
  createMessage(input: MessageInput!): Message
  deleteMessage(id: ID!): Message!
  importMessages(input: [MessageInput!]!): [Message!]!
  setVolume(volume: Float!): Float
}
type Subscription { onCreateMessage(roomId: ID): Message @aws_subscribe(mutations: ["createMessage"]) }
"""

AWAY = Unavailable("redis://user:secret@db:6379: connection refused")


class RememberingBus:
    """Publishes into a list; can fail (as with `AWAY`, like the real one without Redis), and can be held up.

    `was_called` is set when a call comes in; a call goes on once `may_go_on` is set, which it is at first.
    """

    def __init__(self) -> None:
        self.calls: list[list[NewEvent]] = []
        self.failure: Exception | None = None
        self.was_called = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    @property
    def events(self) -> list[NewEvent]:
        return [event for call in self.calls for event in call]

    async def publish(self, events: Sequence[NewEvent]) -> list[str]:
        self.was_called.set()
        await self.may_go_on.wait()
        if self.failure is not None:
            raise self.failure
        first = len(self.events)
        self.calls.append(list(events))
        return [f"1700000000000-{first + offset}" for offset in range(len(events))]

    async def find_position(self) -> str:
        if self.failure is not None:
            raise self.failure
        return f"at-{len(self.events)}"


class RememberingAdministration:
    """Notes what is ordered and answers as it is told to."""

    def __init__(self) -> None:
        self.orders: list[tuple[object, ...]] = []
        self.answer: dict[str, Any] = {"gateways": {"told": 1, "answered": 1}}
        self.failure: Exception | None = None

    async def invalidate(self, field: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return self._carry_out("invalidate", field, payload)

    async def order_invalidation(self, field: str, payload: Mapping[str, Any]) -> None:
        self._carry_out("order invalidation", field, payload)

    async def close(self, *, identity: str = "", connection_id: str = "") -> dict[str, Any]:
        return self._carry_out("close", identity, connection_id)

    async def reload(self, *, everywhere: bool) -> dict[str, Any]:
        return self._carry_out("reload", everywhere)

    def list_connections(self, *, after: str, limit: int, identity: str) -> dict[str, Any]:
        return self._carry_out("list", after, limit, identity)

    async def list_keys(self) -> dict[str, Any]:
        return self._carry_out("keys")

    async def create_key(self, kind: KeyKind, description: str, days: int) -> dict[str, Any]:
        return self._carry_out("create key", kind, description, days) | {"id": "sha256:made", "key": "da2-made"}

    async def revoke_key(self, id: str) -> dict[str, Any]:
        return self._carry_out("revoke key", id) | {"id": "sha256:revoked"}

    def _carry_out(self, *order: object) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        self.orders.append(order)
        return dict(self.answer)


@pytest.fixture
def bus() -> RememberingBus:
    return RememberingBus()


@pytest.fixture(scope="session")
def schema() -> ApiSchema:
    return parse_schema(SDL)


@pytest.fixture
def administration() -> RememberingAdministration:
    return RememberingAdministration()


@pytest.fixture
def api(schema: ApiSchema) -> Api:
    return Api(schema, Settings())


@pytest.fixture
def app(bus: RememberingBus, administration: RememberingAdministration, api: Api) -> FastAPI:
    return create_app(
        api=api,
        publish=bus.publish,
        authorizer=Authorizer(ApiKeys([CLIENT_KEY]), ApiKeys([PUBLISHER_KEY]), ApiKeys([ADMIN_KEY])),
        administration=administration,
        find_position=bus.find_position,
        metrics=Metrics(subscriptions=3),
        is_ready=lambda: bus.failure is None,
        settings=Settings(),
    )


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
async def subscriber(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with an API key."""
    http.headers["x-api-key"] = CLIENT_KEY
    return http


@pytest.fixture
async def publisher(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with a publisher key."""
    http.headers["x-api-key"] = PUBLISHER_KEY
    return http


@pytest.fixture
async def operator(http: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with an admin key."""
    http.headers["x-api-key"] = ADMIN_KEY
    return http
