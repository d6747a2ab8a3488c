"""The door of HTTP: who is limited, who is held back, and who is not."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message

from fanout.api import Api
from fanout.auth import ApiKeys, Authorizer, Refusals
from fanout.metrics import Metrics
from fanout.schema import ApiSchema
from fanout.settings import Settings
from fanout.web.app import create_app
from fanout.web.entrance import Entrance, Unlimited
from tests.fanout.web.conftest import ADMIN_KEY, CLIENT_KEY, PUBLISHER_KEY, RememberingAdministration, RememberingBus
from tests.served import wait_until_async

LONG_MS = 1_000_000
QUERY = {"query": "{ __typename }"}
EVENT = {"mutation": "setVolume", "data": 1.0}
CALLS: list[tuple[str, str, Any, str]] = [
    ("POST", "/graphql", QUERY, CLIENT_KEY),
    ("POST", "/events", EVENT, PUBLISHER_KEY),
    ("GET", "/admin/connections", None, ADMIN_KEY),
]
each_call = pytest.mark.parametrize(("method", "path", "body", "key"), CALLS, ids=lambda value: str(value)[:8])


class Excess:
    def __init__(self, message: str) -> None:
        self.message = message
        self.retry_after_seconds = 7


class Limits:
    """Lets nobody in whose address or identity is listed."""

    counts_requests = True

    def __init__(self) -> None:
        self.exceeded: set[str] = set()
        self.asked: list[str] = []

    def request_from(self, address: str) -> Excess | None:
        return self._ask(address)

    def request_by(self, identity: str) -> Excess | None:
        return self._ask(identity)

    def _ask(self, party: str) -> Excess | None:
        self.asked.append(party)
        return Excess("Rate limit exceeded.") if party in self.exceeded else None


class House:
    """The application behind an entrance."""

    def __init__(self, schema: ApiSchema, refusals: Refusals, limits: Any) -> None:
        self.refusals = refusals
        self.limits = limits
        self.metrics = Metrics()
        bus = RememberingBus()
        self.app: FastAPI = create_app(
            api=Api(schema, Settings()),
            publish=bus.publish,
            authorizer=Authorizer(ApiKeys([CLIENT_KEY]), ApiKeys([PUBLISHER_KEY]), ApiKeys([ADMIN_KEY])),
            administration=RememberingAdministration(),
            find_position=bus.find_position,
            metrics=self.metrics,
            is_ready=lambda: True,
            settings=Settings(),
            entrance=Entrance(refusals, limits, lambda peer, hops: ",".join([*hops, peer]), self.metrics),
        )

    def open(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1234))
        return httpx.AsyncClient(transport=transport, base_url="http://test")


@each_call
async def test_good_credentials_never_wait_and_bad_ones_do(
    schema: ApiSchema, method: str, path: str, body: Any, key: str
) -> None:
    house = House(schema, Refusals(LONG_MS, LONG_MS), Unlimited())
    async with house.open() as http:
        bad = [
            asyncio.ensure_future(http.request(method, path, json=body, headers=headers))
            for headers in ({}, {"x-api-key": "wrong"}, {"x-api-key": key + "x"})
        ]
        await wait_until_async(lambda: house.refusals.held == 3)
        good = await http.request(method, path, json=body, headers={"x-api-key": key})
        assert good.status_code < 300
        for each in bad:
            each.cancel()
        await wait_until_async(lambda: house.refusals.held == 0)


@each_call
async def test_the_answer_is_the_same_whatever_was_wrong(
    schema: ApiSchema, method: str, path: str, body: Any, key: str
) -> None:
    house = House(schema, Refusals(1, 1), Unlimited())
    answers = set()
    async with house.open() as http:
        for headers in ({}, {"x-api-key": ""}, {"x-api-key": "wrong"}, {"x-api-key": key[:-1]}, {"authorization": key}):
            answer = await http.request(method, path, json=body, headers=headers)
            answers.add((answer.status_code, answer.text, str(answer.headers)))
    [(status, _, _)] = answers
    assert status == 401
    assert house.metrics.refusals == {"UnauthorizedException": 5}


@each_call
async def test_rates_are_of_addresses_and_identities(
    schema: ApiSchema, method: str, path: str, body: Any, key: str
) -> None:
    limits = Limits()
    house = House(schema, Refusals(0, 1), limits)
    headers = {"x-api-key": key, "x-forwarded-for": "198.51.100.1"}
    async with house.open() as http:
        assert (await http.request(method, path, json=body, headers=headers)).status_code < 300
        address, identity = limits.asked
        assert address == "198.51.100.1,192.0.2.1"
        assert identity.startswith("sha256:")
        for exceeded, kind in ((identity, "identity"), (address, "address")):
            limits.exceeded = {exceeded}
            answer = await http.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
            assert answer.json()["errors"] == [{"errorType": "LimitExceededError", "message": "Rate limit exceeded."}]
            assert house.metrics.refusals[f"max-requests-per-second-per-{kind}"] == 1
        limits.exceeded = {identity}
        assert (await http.request(method, path, json=body)).status_code == 401


async def test_a_client_that_leaves_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(LONG_MS, LONG_MS)
    entrance = Entrance(refusals, Unlimited(), lambda peer, _: peer, Metrics())
    messages: asyncio.Queue[Message] = asyncio.Queue()
    request = Request({"type": "http", "headers": [], "client": ("192.0.2.1", 1)}, messages.get)
    authorizer = Authorizer(ApiKeys([]), ApiKeys([]))
    admitting = asyncio.ensure_future(entrance.admit(request, lambda: authorizer.authorize_publisher(request.headers)))
    await messages.put({"type": "http.request", "body": b"x" * 1000, "more_body": True})
    await wait_until_async(lambda: refusals.held and messages.empty())
    assert not admitting.done()
    await messages.put({"type": "http.disconnect"})
    with pytest.raises(Exception, match="You are not authorized"):
        await admitting
    assert refusals.held == 0
    gc.collect()
    assert caplog.text == ""


def test_the_log_tells_where_a_request_comes_from() -> None:
    def read(peer: str, hops: Any) -> str:
        hops = list(hops)
        return hops[-1] if hops and peer == "10.0.0.1" else peer

    entrance = Entrance(Refusals(0, 1), Unlimited(), read, Metrics())

    def describe(peer: str | None, forwarded: str | None) -> str:
        headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
        scope = {"type": "http", "headers": headers, "client": (peer, 5) if peer else None}
        return entrance.describe_client(Request(scope))

    assert describe("192.0.2.1", None) == "192.0.2.1:5"
    assert describe("192.0.2.1", "198.51.100.1") == "192.0.2.1:5"
    assert describe("10.0.0.1", "198.51.100.1") == "198.51.100.1 by 10.0.0.1:5"
    assert describe(None, "198.51.100.1") == "unknown"
