"""What Python `gql` makes of it when an operator ends its subscription or its credentials are taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gql import Client
from gql.transport.exceptions import TransportError, TransportQueryError

from tests.conformance.test_gql import ON_CREATE, TRANSPORTS, ask
from tests.served import API_KEY, Served, serve, wait_until_async

ADMIN = "da2-operator"
FILE = f"""
api_key = ["{API_KEY}"]
publisher_key = ["da2-publisher"]
admin_key = ["{ADMIN}"]
[subscriptions.onCreateMessage]
invalidation_filter = {{ roomId = {{ eq = "$args.roomId" }} }}
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "fanout.toml").write_text(FILE)
    with serve("--config", "fanout.toml", keys=False, directory=tmp_path) as process:
        yield process


def order(served: Served, path: str, body: object) -> None:
    answer = httpx.post(f"{served.url}/admin/{path}", headers={"x-api-key": ADMIN}, json=body)
    assert answer.status_code == 200, answer.text


@TRANSPORTS
async def test_an_invalidated_subscription_ends_with_its_message(served: Served, build: object) -> None:
    async with Client(transport=build(served)) as session:  # type: ignore[operator]
        events = session.subscribe(ask(ON_CREATE, roomId="a"))
        first = asyncio.ensure_future(anext(events))
        await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 1)
        order(served, "subscriptions/invalidate", {"field": "onCreateMessage", "payload": {"roomId": "a"}})
        with pytest.raises(TransportQueryError, match="Subscription complete"):
            await asyncio.wait_for(first, 20)


@TRANSPORTS
async def test_revoked_credentials_end_the_subscription(served: Served, tmp_path: Path, build: object) -> None:
    async with Client(transport=build(served)) as session:  # type: ignore[operator]
        events = session.subscribe(ask(ON_CREATE, roomId="a"))
        first = asyncio.ensure_future(anext(events))
        await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 1)
        (tmp_path / "fanout.toml").write_text(FILE.replace(API_KEY, "da2-another-key"))
        order(served, "reload", {"all": True})
        with pytest.raises((TransportError, StopAsyncIteration)):
            await asyncio.wait_for(first, 20)
        assert served.read_metric("fanout_subscriptions") == 0
