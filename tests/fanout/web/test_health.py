"""Liveness and readiness as load balancers and Amplify for Flutter see them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from fanout.web.health import build_health_router


class _Bus:
    is_ready: bool | str = True


@pytest.fixture
def bus() -> _Bus:
    return _Bus()


@pytest.fixture
async def client(bus: _Bus) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(openapi_url=None)
    app.include_router(build_health_router(lambda: bus.is_ready))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_ping_is_exactly_what_flutter_wants(client: httpx.AsyncClient) -> None:
    response = await client.get("/ping")
    assert (response.status_code, response.content) == (200, b"healthy")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("state", "status", "body"),
    [
        (True, 200, {"status": "ready"}),
        (False, 503, {"status": "not ready", "reason": "the event bus is not ready"}),
        ("", 503, {"status": "not ready", "reason": "the event bus is not ready"}),
        ("Redis is away", 503, {"status": "not ready", "reason": "Redis is away"}),
    ],
)
async def test_readiness_follows_the_bus(
    client: httpx.AsyncClient, bus: _Bus, state: bool | str, status: int, body: dict[str, str]
) -> None:
    bus.is_ready = state
    response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (status, body)
    assert ("retry-after" in response.headers) == (status == 503)
    live = await client.get("/healthz")
    assert (live.status_code, live.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/ping", "/healthz", "/readyz"])
async def test_nobody_keeps_an_old_answer(client: httpx.AsyncClient, path: str) -> None:
    head = await client.head(path)
    assert head.status_code == 200
    assert head.headers["cache-control"] == "no-store"
