"""HTTP answers: the table from error to status, AppSync's shape, and that nothing leaks."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Scope

from fanout.errors import BadRequest, ClientFault, DuplicatedOperation, LimitExceeded, Unauthorized, Unavailable
from fanout.web.answers import add_error_answers, answer_errors, answer_json


def _raising(error: Exception) -> FastAPI:
    app = FastAPI(openapi_url=None)
    add_error_answers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    return app


async def _get(app: FastAPI, path: str = "/", method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (Unauthorized(), 401, "UnauthorizedException"),
        (BadRequest("no"), 400, "BadRequestException"),
        (BadRequest("no", error_code=422), 422, "BadRequestException"),
        (LimitExceeded("no"), 400, "LimitExceededError"),
        (LimitExceeded("no", error_code=413), 413, "LimitExceededError"),
        (DuplicatedOperation("no"), 400, "DuplicatedOperationError"),
        (ClientFault("no", error_code=200), 400, "BadRequestException"),
        (ClientFault("no", error_code=503), 400, "BadRequestException"),
        (ClientFault("no", error_type="Special"), 400, "Special"),
    ],
)
async def test_client_faults(error: ClientFault, status: int, error_type: str) -> None:
    response = await _get(_raising(error))
    assert response.status_code == status
    assert response.headers["x-amzn-errortype"] == error_type
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"errors": [{"errorType": error_type, "message": error.message}]}


async def test_several_errors_keep_their_fields() -> None:
    error = BadRequest("first", errors=[{"message": "first", "index": 1}, {"message": "second", "index": 4}])
    assert (await _get(_raising(error))).json() == {
        "errors": [
            {"errorType": "BadRequestException", "message": "first", "index": 1},
            {"errorType": "BadRequestException", "message": "second", "index": 4},
        ]
    }


async def test_an_upstream_that_is_away_is_503_without_its_name() -> None:
    response = await _get(_raising(Unavailable("redis://user:secret@db:6379 is gone")))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.headers["x-amzn-errortype"] == "ServiceUnavailableException"
    assert "secret" not in response.text
    assert "again later" in response.json()["errors"][0]["message"]


async def test_our_own_defect_shows_neither_traceback_nor_cause() -> None:
    response = await _get(_raising(RuntimeError("key da2-secret")))
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/json"
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert response.json()["errors"][0]["errorType"] == "InternalFailureException"


async def test_our_own_defect_is_raised_again_for_the_log() -> None:
    transport = httpx.ASGITransport(_raising(RuntimeError("defect")))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with pytest.raises(RuntimeError, match="defect"):
            await client.get("/")


async def test_unknown_paths_and_methods_are_json() -> None:
    app = _raising(RuntimeError())
    missing = await _get(app, "/nowhere")
    assert (missing.status_code, missing.headers["x-amzn-errortype"]) == (404, "NotFoundException")
    assert "/graphql" in missing.json()["errors"][0]["message"]
    wrong = await _get(app, "/", "DELETE")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET")
    assert wrong.json()["errors"][0]["message"] == "DELETE is not served at this path"


async def test_a_client_that_goes_away_while_sending_is_no_defect() -> None:
    app = FastAPI(openapi_url=None)
    add_error_answers(app)

    @app.post("/")
    async def read(request: Request) -> None:
        await request.body()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [], "app": app}
    await app(scope, receive, send)
    assert sent[0]["status"] == 400


def test_fields_stand_beside_errors() -> None:
    errors: list[dict[str, Any]] = [{"errorType": "X", "message": "no"}]
    response = answer_errors(503, errors, {"Retry-After": "1"}, data=None)
    assert orjson.loads(response.body) == {"data": None, "errors": errors}
    assert response.headers["retry-after"] == "1"


def test_json_answers_are_exact() -> None:
    value = {"text": "é\u2028", "float": 1.0, "integer": 2**63, "null": None}
    response = answer_json(value, 202)
    assert orjson.loads(response.body) == value
    assert b"1.0" in response.body
    assert response.status_code == 202
