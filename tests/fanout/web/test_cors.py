"""Pages of other origins: what they may call, and what not, by what the operator lists."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from fanout.origins import Origins
from fanout.web.cors import Cors
from tests.fanout.web.conftest import ADMIN_KEY, PUBLISHER_KEY, RememberingBus

LISTED, FOREIGN = "https://app.example", "https://evil.example"
PATHS = ["/graphql", "/graphql/realtime", "/events", "/ping"]


@asynccontextmanager
async def call(app: FastAPI, *allowed: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Cors(app, Origins(allowed)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def bare(app: FastAPI) -> FastAPI:
    """The application without what its settings say of origins."""
    app.user_middleware.clear()
    return app


def ask(origin: str) -> dict[str, str]:
    return {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}


@pytest.mark.parametrize("path", PATHS)
async def test_pages_that_are_listed_may_call_and_no_others(bare: FastAPI, path: str) -> None:
    async with call(bare, LISTED) as http:
        preflight = await http.options(path, headers=ask(LISTED))
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, LISTED)
        answer = await http.get(path, headers={"origin": LISTED})
        assert answer.headers["access-control-allow-origin"] == LISTED
        assert "Origin" in answer.headers["vary"]
        for refused in (await http.options(path, headers=ask(FOREIGN)), await http.get(path, headers=ask(FOREIGN))):
            assert refused.status_code == 403
            assert "access-control-allow-origin" not in refused.headers
            assert "allowed_origins" in refused.json()["errors"][0]["message"]
        assert (await http.get(path)).status_code != 403


async def test_nothing_is_done_for_a_foreign_page(bare: FastAPI, bus: RememberingBus) -> None:
    event = {"mutation": "setVolume", "data": 1.0}
    async with call(bare, LISTED) as http:
        for origin, status in ((FOREIGN, 403), (LISTED, 202)):
            headers = {"x-api-key": PUBLISHER_KEY, "origin": origin}
            assert (await http.post("/events", json=event, headers=headers)).status_code == status
    assert len(bus.events) == 1


async def test_operators_pages_have_to_be_listed(bare: FastAPI) -> None:
    headers = {"x-api-key": ADMIN_KEY, "origin": LISTED}
    async with call(bare, "*") as http:
        assert (await http.options("/admin/connections", headers=ask(LISTED))).status_code == 405
        answer = await http.get("/admin/connections", headers=headers)
        assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)
    for allowed in ((LISTED,), ("*", LISTED)):
        async with call(bare, *allowed) as http:
            answer = await http.get("/admin/connections", headers=headers)
            assert answer.headers["access-control-allow-origin"] == LISTED
            foreign = await http.get("/admin/connections", headers={**headers, "origin": FOREIGN})
            assert "access-control-allow-origin" not in foreign.headers
    async with call(bare, LISTED) as http:
        assert (await http.get("/admin/connections", headers={**headers, "origin": FOREIGN})).status_code == 403


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_figures_are_not_for_pages(bare: FastAPI, path: str) -> None:
    for allowed in ("*", LISTED):
        async with call(bare, allowed) as http:
            answer = await http.get(path, headers={"origin": LISTED})
            assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (200, False)
