"""`/admin` lets operators in and nobody else, says what is wrong with a request, and notes each call in the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fanout.auth import ApiKeys, Authorizer
from fanout.errors import BadRequest, Unavailable
from fanout.metrics import Metrics
from fanout.model import KeyKind
from fanout.web.admin_http import BODY_BYTES, LARGEST_PAGE, build_admin_router
from fanout.web.answers import add_error_answers
from fanout.web.entrance import build_open_entrance
from tests.fanout.web.conftest import ADMIN_KEY, CLIENT_KEY, PUBLISHER_KEY, RememberingAdministration

ORDERS = [
    ("POST", "/admin/subscriptions/invalidate", {"field": "onX", "payload": {"a": 1}}),
    ("POST", "/admin/connections/close", {"identity": "sha256:0123456789abcdef"}),
    ("POST", "/admin/reload", None),
    ("GET", "/admin/connections", None),
    ("GET", "/admin/keys", None),
]
KEY_ORDERS = [("POST", "/admin/keys", {"kind": "publisher"}), ("DELETE", "/admin/keys/sha256:0123456789abcdef", None)]
SUBJECT = ApiKeys([ADMIN_KEY]).check(ADMIN_KEY).subject


@pytest.mark.parametrize(("method", "path", "body"), ORDERS)
async def test_only_operators_are_let_in(
    http: httpx.AsyncClient, administration: RememberingAdministration, method: str, path: str, body: Any
) -> None:
    for key in ("", "wrong", CLIENT_KEY, PUBLISHER_KEY):
        answer = await http.request(method, path, json=body, headers={"x-api-key": key})
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["errorType"] == "UnauthorizedException"
    assert administration.orders == []
    answer = await http.request(method, path, json=body, headers={"x-api-key": ADMIN_KEY})
    assert (answer.status_code, answer.json()) == (200, administration.answer)
    assert len(administration.orders) == 1


@pytest.mark.parametrize(("method", "path", "body"), KEY_ORDERS)
async def test_only_operators_make_and_revoke_keys(
    http: httpx.AsyncClient, administration: RememberingAdministration, method: str, path: str, body: Any
) -> None:
    for key in ("", "wrong", CLIENT_KEY, PUBLISHER_KEY):
        assert (await http.request(method, path, json=body, headers={"x-api-key": key})).status_code == 401
    assert administration.orders == []
    assert (await http.request(method, path, json=body, headers={"x-api-key": ADMIN_KEY})).is_success
    assert len(administration.orders) == 1


async def test_keys_are_made_told_once_and_revoked(
    operator: httpx.AsyncClient, administration: RememberingAdministration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fanout.audit")
    made = await operator.post("/admin/keys", json={"kind": "publisher", "description": "d", "days": 9})
    assert (made.status_code, made.json()["key"]) == (201, "da2-made")
    assert made.headers["cache-control"] == "no-store"
    await operator.post("/admin/keys")
    assert (await operator.get("/admin/keys")).headers["cache-control"] == "no-store"
    assert (await operator.delete("/admin/keys/sha256:abcd")).json()["id"] == "sha256:revoked"
    assert administration.orders == [
        ("create key", KeyKind.PUBLISHER, "d", 9),
        ("create key", KeyKind.API, "", 7),
        ("keys",),
        ("revoke key", "sha256:abcd"),
    ]
    administration.failure = BadRequest("an id is written as the list shows it")
    assert (await operator.delete("/admin/keys/da2-a-key-itself")).status_code == 400
    lines = [record.getMessage() for record in caplog.records if record.name == "fanout.audit"]
    assert [line.split(" by ")[0] for line in lines] == [
        "POST create key sha256:made of kind publisher",
        "POST create key sha256:made of kind api",
        "GET keys",
        "DELETE revoke key sha256:revoked",
        "DELETE revoke-key",
    ]
    assert "da2-" not in caplog.text


@pytest.mark.parametrize(("method", "path", "body"), [*ORDERS, *KEY_ORDERS])
async def test_without_an_admin_key_there_is_no_admin_api(method: str, path: str, body: Any) -> None:
    app = FastAPI()
    add_error_answers(app)
    administration = RememberingAdministration()
    authorizer = Authorizer(ApiKeys([CLIENT_KEY]), ApiKeys([PUBLISHER_KEY]))
    app.include_router(build_admin_router(administration, authorizer, Metrics(), build_open_entrance(Metrics())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for key in ("", CLIENT_KEY, ADMIN_KEY):
            answer = await client.request(method, path, json=body, headers={"x-api-key": key})
            assert answer.status_code == 404
            assert "give the setting admin_key" in answer.json()["errors"][0]["message"]
    assert administration.orders == []


async def test_orders_are_passed_on(operator: httpx.AsyncClient, administration: RememberingAdministration) -> None:
    for method, path, body in ORDERS:
        await operator.request(method, path, json=body)
    await operator.post("/admin/connections/close", json={"connectionId": "ab-1f"})
    await operator.post("/admin/reload", json={"all": True})
    await operator.post("/admin/reload", json={})
    await operator.get("/admin/connections?limit=7&after=ab-1&identity=x")
    assert administration.orders == [
        ("invalidate", "onX", {"a": 1}),
        ("close", "sha256:0123456789abcdef", ""),
        ("reload", False),
        ("list", "", 100, ""),
        ("keys",),
        ("close", "", "ab-1f"),
        ("reload", True),
        ("reload", False),
        ("list", "ab-1", 7, "x"),
    ]


async def test_a_body_that_comes_in_chunks_is_read(
    operator: httpx.AsyncClient, administration: RememberingAdministration
) -> None:
    async def write() -> AsyncIterator[bytes]:
        yield b'{"all": true}'

    assert (await operator.post("/admin/reload", content=write())).status_code == 200
    assert administration.orders == [("reload", True)]


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("subscriptions/invalidate", {"payload": {}}, 400, '"field" has to be a string'),
        ("subscriptions/invalidate", {"field": "", "payload": {}}, 400, '"field" has to be a string'),
        ("subscriptions/invalidate", {"field": "a\nb", "payload": {}}, 400, '"field" has to be a string'),
        ("subscriptions/invalidate", {"field": "onX"}, 400, '"payload" has to be an object'),
        ("subscriptions/invalidate", {"field": "onX", "payload": {}, "x": 1}, 400, "unknown member 'x'"),
        ("subscriptions/invalidate", [], 400, "not a JSON object with field and payload"),
        ("subscriptions/invalidate", {"field": "onX", "payload": {"a": "x" * BODY_BYTES}}, 413, "exceeds the limit"),
        ("connections/close", {}, 400, 'either "identity" or "connectionId"'),
        ("connections/close", {"identity": "a", "connectionId": "b"}, 400, 'either "identity" or "connectionId"'),
        ("connections/close", {"identity": 5}, 400, '"identity" has to be a string'),
        ("connections/close", {"identity": "x" * 1025}, 400, '"identity" has to be a string'),
        ("connections/close", {"connectionId": "da2-a-key-itself"}, 400, "as GET /admin/connections shows it"),
        ("connections/close", {"connectionId": "c-1x"}, 400, "as GET /admin/connections shows it"),
        ("connections/close", {"connectionId": "x" * 1025}, 400, '"connectionId" has to be a string'),
        ("keys", {"kind": "root"}, 400, '"kind" has to be one of api, publisher, admin'),
        ("keys", {"kind": ["api"]}, 400, '"kind" has to be one of'),
        ("keys", {"description": 5}, 400, '"description" has to be a string'),
        ("keys", {"name": "x"}, 400, "unknown member 'name'"),
        ("reload", {"all": "yes"}, 400, '"all" has to be true or false'),
        ("reload", {"everywhere": True}, 400, "unknown member 'everywhere'; there is all"),
    ],
)
async def test_mistakes_are_told(
    operator: httpx.AsyncClient,
    administration: RememberingAdministration,
    path: str,
    body: Any,
    status: int,
    text: str,
) -> None:
    answer = await operator.post(f"/admin/{path}", json=body)
    assert answer.status_code == status
    assert text in answer.json()["errors"][0]["message"]
    assert administration.orders == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", f"limit={LARGEST_PAGE + 1}", "limit=-1", "page=2", "limit=" + "9" * 5000]
)
async def test_bad_pages_are_told(operator: httpx.AsyncClient, query: str) -> None:
    assert (await operator.get(f"/admin/connections?{query}")).status_code == 400


async def test_what_a_reload_was_refused_for_is_told(
    operator: httpx.AsyncClient, administration: RememberingAdministration
) -> None:
    errors = [{"errorType": "ConfigurationError", "message": "a.graphql:1:2: no", "gateway": "g"}]
    administration.answer = {"reports": [{"gateway": "g", "error": "a.graphql:1:2: no"}], "errors": errors}
    answer = await operator.post("/admin/reload")
    assert answer.status_code == 422
    assert answer.json() == administration.answer


async def test_failures_have_their_status(
    operator: httpx.AsyncClient, administration: RememberingAdministration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fanout.audit")
    for failure, status in ((Unavailable("x"), 503), (BadRequest("x", error_code=422), 422), (RuntimeError("x"), 500)):
        administration.failure = failure
        answer = await operator.post(*ORDERS[0][1:2], json=ORDERS[0][2])
        assert answer.status_code == status
        assert caplog.messages[-1].endswith(f": {status}")


async def test_each_call_is_one_line_that_names_no_credential(
    operator: httpx.AsyncClient, administration: RememberingAdministration, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fanout.audit")
    await operator.post("/admin/subscriptions/invalidate", json={"field": "onX", "payload": {"secret": "private"}})
    await operator.post("/admin/connections/close", json={"connectionId": "ab-1f"})
    administration.failure = BadRequest("this is no name of an identity")
    await operator.post("/admin/connections/close", json={"identity": "da2-a-key-itself"})
    administration.failure = None
    await operator.post("/admin/reload", json={"all": True}, headers={"x-api-key": "da2-guess"})
    lines = [record.getMessage() for record in caplog.records if record.name == "fanout.audit"]
    assert [line.split(" from ")[0] for line in lines] == [
        f"POST invalidate onX by {SUBJECT}",
        f"POST close connection ab-1f by {SUBJECT}",
        f"POST close by {SUBJECT}",
        "POST reload by nobody",
    ]
    assert lines[-1].endswith(": 401")
    assert not any(secret in caplog.text for secret in ("private", ADMIN_KEY, "da2-guess", "da2-a-key-itself"))


async def test_calls_with_wrong_keys_do_not_fill_the_log(
    operator: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fanout.audit")
    for _ in range(50):
        await operator.post("/admin/reload", headers={"x-api-key": "da2-guess"})
    for _ in range(20):
        await operator.post("/admin/reload")
    lines = [record.getMessage() for record in caplog.records if record.name == "fanout.audit"]
    assert len([line for line in lines if " by nobody " in line]) == 10
    assert len([line for line in lines if f" by {SUBJECT} " in line]) == 20
