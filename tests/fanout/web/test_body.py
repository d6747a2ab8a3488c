"""Request bodies: limits hold whether the length is declared or not, and JSON faults are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st

from fanout.settings import Settings
from fanout.web.answers import add_error_answers, answer_json
from fanout.web.body import HttpLimits, read_json

LIMIT = 64


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(openapi_url=None)
    add_error_answers(app)

    @app.post("/")
    async def echo(request: Request) -> Response:
        return answer_json(await read_json(request, LIMIT))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def _in_parts(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 7):
        yield body[start : start + 7]


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("length", [LIMIT, LIMIT + 1])
async def test_the_limit_is_exact(client: httpx.AsyncClient, length: int, is_declared: bool) -> None:
    body = b'"' + b"a" * (length - 2) + b'"'
    response = await client.post("/", content=body if is_declared else _in_parts(body))
    assert response.status_code == (200 if length == LIMIT else 413)
    if length > LIMIT:
        message = response.json()["errors"][0]["message"]
        assert message == "the request body exceeds the limit of 64 bytes: send less at once"


async def test_a_body_that_is_declared_too_large_is_not_read(client: httpx.AsyncClient) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    response = await client.post("/", content=never(), headers={"content-length": "1000000"})
    assert response.status_code == 413


@pytest.mark.parametrize("length", ["x", "-1", "1e9", "²", "0" * 5000 + "2"])
async def test_a_senseless_declared_length_does_not_matter(client: httpx.AsyncClient, length: str) -> None:
    response = await client.post("/", content=b"{}", headers={b"content-length": length.encode()})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request has no body: send a JSON object"),
        (b"{", "the request body is not valid JSON"),
        (b"\xff", "the request body is not valid JSON"),
        (b'"\\ud800"', "the request body is not valid JSON"),
        (b"NaN", "the request body is not valid JSON"),
        (b"1e999", "the request body is not valid JSON"),
        (b"{} {}", "the request body is not valid JSON"),
    ],
)
async def test_what_is_not_json_is_told(client: httpx.AsyncClient, body: bytes, message: str) -> None:
    response = await client.post("/", content=body)
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"].startswith(message)


async def test_hostile_nesting_is_a_client_fault() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"[" * 100_000}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    with pytest.raises(Exception, match="not valid JSON"):
        await read_json(request, 200_000)


@given(st.binary(max_size=LIMIT))
async def test_any_bytes_give_json_or_a_client_fault(body: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)
    try:
        expected = orjson.loads(body)
    except orjson.JSONDecodeError:
        with pytest.raises(Exception, match="the request"):
            await read_json(request, LIMIT)
    else:
        assert await read_json(request, LIMIT) == expected


def test_limits_follow_settings_upwards_only() -> None:
    default = HttpLimits()
    assert HttpLimits.from_settings(Settings()) == default
    assert HttpLimits.from_settings(Settings(max_message_bytes=1, max_payload_bytes=1)) == default
    large = HttpLimits.from_settings(Settings(max_payload_bytes=20_000_000))
    assert (large.graphql_body_bytes, large.events_body_bytes) == (40_000_000, 40_000_000)
    assert HttpLimits.from_settings(Settings(max_message_bytes=2_000_000)).graphql_body_bytes == 2_000_000
