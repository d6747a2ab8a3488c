"""The application as a whole: what is served, to whom, and what is not."""

from __future__ import annotations

import httpx
import pytest

from tests.fanout.web.conftest import AWAY, CLIENT_KEY, RememberingBus


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", "/event"])
async def test_there_are_no_other_pages(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(path)
    assert response.status_code == 404
    assert response.json()["errors"][0]["errorType"] == "NotFoundException"


@pytest.mark.parametrize("path", ["/ping", "/healthz", "/readyz", "/metrics"])
async def test_health_and_metrics_need_no_key(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 200


async def test_metrics_are_those_of_the_process(http: httpx.AsyncClient) -> None:
    assert "\nfanout_subscriptions 3.0\n" in (await http.get("/metrics")).text


async def test_readiness_is_the_buss(http: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.failure = AWAY
    assert (await http.get("/readyz")).status_code == 503
    assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(("method", "path"), [("PUT", "/graphql"), ("GET", "/events"), ("POST", "/ping")])
async def test_wrong_methods(http: httpx.AsyncClient, method: str, path: str) -> None:
    response = await http.request(method, path)
    assert response.status_code == 405
    assert response.json()["errors"][0]["message"] == f"{method} is not served at this path"


async def test_a_browser_page_of_any_origin_may_call(http: httpx.AsyncClient) -> None:
    origin = {"origin": "https://app.example"}
    preflight = {
        **origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key,x-amz-user-agent",
    }
    allowed = await http.options("/graphql", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert "x-amz-user-agent" in allowed.headers["access-control-allow-headers"]
    # Errors too, or a page could not read why it was refused.
    refused = await http.post("/graphql", json={}, headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
    assert "access-control-allow-credentials" not in refused.headers


async def test_a_defect_of_ours_shows_nothing(subscriber: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.failure = RuntimeError(f"defect with {CLIENT_KEY}")
    response = await subscriber.post("/graphql", json={"query": "mutation { setVolume(volume: 1) }"})
    assert response.status_code == 500
    assert response.headers["x-amzn-errortype"] == "InternalFailureException"
    assert CLIENT_KEY not in response.text
    assert "RuntimeError" not in response.text
