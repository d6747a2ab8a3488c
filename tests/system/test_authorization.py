"""Every authorization mode at every way in: what is let in, and what everybody else is told.

One served process with all modes; credentials as clients send them (`tests/credentials.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from fanout.model import AuthMode
from tests.credentials import (
    ACCESS_KEY,
    CLIENT_ID,
    POOL,
    REGION,
    SECRET_KEY,
    Entry,
    Issuer,
    Quality,
    build_headers,
    run_issuer,
)
from tests.served import API_KEY, PUBLISHER_KEY, AppSyncClient, Served, connect_appsync, encode_header, serve

ADMIN_KEY = "da2-test-admin-key"
ALL_MODES = "@aws_api_key @aws_iam @aws_oidc @aws_lambda @aws_cognito_user_pools"
SDL = f"""
type Query {{ note: Note }}
type Mutation {{ createNote(id: ID, closed: String): Note {ALL_MODES} }}
type Note {ALL_MODES} {{ id: ID closed: String @aws_cognito_user_pools(cognito_groups: ["writers"]) }}
type Subscription {{ onCreateNote(id: ID): Note @aws_subscribe(mutations: ["createNote"]) {ALL_MODES} }}
"""
SUBSCRIBE = "subscription { onCreateNote { id } }"
SUBSCRIBE_TO_CLOSED = "subscription { onCreateNote { id closed } }"
CREATE = 'mutation { createNote(id: "1") { id } }'
CREATE_CLOSED = 'mutation { createNote(id: "1", closed: "c") { id closed } }'
DENIED = "Not Authorized to access closed on type Note"
BAD = [quality for quality in Quality if quality is not Quality.GOOD]
API_KEYS = {
    Quality.GOOD: API_KEY,
    Quality.WRONG: "da2-wrong",
    Quality.EXPIRED: "da2-expired",
    Quality.OTHER_MODE: PUBLISHER_KEY,
    Quality.MALFORMED: f"{API_KEY},{API_KEY}",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    served: Served
    issuer: Issuer

    def build_headers(self, mode: AuthMode, quality: Quality, path: str, body: bytes) -> dict[str, str]:
        entry = Entry(f"{self.served.url}{path}", body)
        host = self.served.url.removeprefix("http://")
        return {**build_headers(mode, quality, self.issuer, entry, API_KEYS), "host": host}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("authorization")
    with run_issuer() as issuer:
        (folder / "api.graphql").write_text(SDL)
        (folder / "fanout.toml").write_text(_write_configuration(folder, issuer))
        with serve("--config", str(folder / "fanout.toml"), keys=False) as served:
            yield Deployment(served, issuer)


def _write_configuration(folder: Path, issuer: Issuer) -> str:
    return f"""
schema = "{folder / "api.graphql"}"
api_key = ["{API_KEY}", "{API_KEYS[Quality.EXPIRED]}@2020-01-01T00:00:00Z"]
publisher_key = ["{PUBLISHER_KEY}"]
admin_key = ["{ADMIN_KEY}"]

[[cognito]]
user_pool_id = "{POOL}"
app_id_client_regex = "{CLIENT_ID}"
issuer = "{issuer.url}/pool"

[[oidc]]
issuer = "{issuer.url}"
client_id = "{CLIENT_ID}"

[iam]
region = "{REGION}"
[[iam.users]]
access_key_id = "{ACCESS_KEY}"
secret_access_key = "{SECRET_KEY}"

[lambda_authorizer]
url = "{issuer.url}/authorize"
identity_validation_expression = "lambda-[a-z]+"
"""


@pytest.mark.parametrize("quality", Quality, ids=lambda quality: quality.name.lower())
@pytest.mark.parametrize("mode", AuthMode, ids=lambda mode: mode.name.lower())
class TestTable:
    async def test_connect(self, deployment: Deployment, mode: AuthMode, quality: Quality) -> None:
        headers = deployment.build_headers(mode, quality, "/graphql/connect", b"{}")
        url = deployment.served.url.replace("http", "ws", 1) + "/graphql/realtime"
        async with connect(url, subprotocols=["graphql-ws", encode_header(headers)]) as connection:  # type: ignore[list-item]
            client = AppSyncClient(connection)
            await client.send({"type": "connection_init"})
            answer = await client.receive()
            if quality is Quality.GOOD:
                assert answer["type"] == "connection_ack"
                return
            assert answer == {"type": "connection_error", "payload": {"errors": [_REFUSED]}}
            await asyncio.wait_for(connection.wait_closed(), 20)
            assert connection.close_code == 4401

    async def test_init_of_another_dialect(self, deployment: Deployment, mode: AuthMode, quality: Quality) -> None:
        headers = deployment.build_headers(mode, quality, "/graphql/connect", b"{}")
        url = deployment.served.url.replace("http", "ws", 1) + "/graphql"
        async with connect(url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
            await connection.send(json.dumps({"type": "connection_init", "payload": {"headers": headers}}))
            if quality is Quality.GOOD:
                assert json.loads(await asyncio.wait_for(connection.recv(), 20)) == {"type": "connection_ack"}
                return
            await asyncio.wait_for(connection.wait_closed(), 20)
            assert connection.close_code == 4403

    async def test_start(self, deployment: Deployment, mode: AuthMode, quality: Quality) -> None:
        async with connect_appsync(deployment.served.url) as client:
            answer = await _start(deployment, client, mode, quality, SUBSCRIBE)
            if quality is Quality.GOOD:
                assert answer == {"type": "start_ack", "id": "s"}
            elif quality is Quality.MISSING:
                # Nothing of its own: the connection's credentials count.
                assert answer == {"type": "start_ack", "id": "s"}
            else:
                assert answer == {"type": "error", "id": "s", "payload": {"errors": [_REFUSED]}}

    def test_graphql(self, deployment: Deployment, mode: AuthMode, quality: Quality) -> None:
        response = _post(deployment, mode, quality, CREATE)
        if quality is Quality.GOOD:
            assert (response.status_code, response.json()) == (200, {"data": {"createNote": {"id": "1"}}})
        else:
            _assert_refused(response)

    def test_events_and_admin_are_not_for_clients(
        self, deployment: Deployment, mode: AuthMode, quality: Quality
    ) -> None:
        for path in ("/events", "/admin/reload"):
            body = json.dumps({"mutation": "createNote", "data": {"id": "1"}}).encode()
            headers = deployment.build_headers(mode, quality, path, body)
            response = httpx.post(f"{deployment.served.url}{path}", content=body, headers=headers)
            if path == "/events" and headers.get("x-api-key") == PUBLISHER_KEY:
                assert response.status_code == 202
            else:
                _assert_refused(response)


@pytest.mark.parametrize("mode", AuthMode, ids=lambda mode: mode.name.lower())
class TestDeniedField:
    async def test_a_subscription_is_refused(self, deployment: Deployment, mode: AuthMode) -> None:
        async with connect_appsync(deployment.served.url) as client:
            answer = await _start(deployment, client, mode, Quality.GOOD, SUBSCRIBE_TO_CLOSED)
            assert (answer["type"], answer["id"]) == ("error", "s")
            (error,) = answer["payload"]["errors"]
            assert (error["errorType"], error["message"]) == ("Unauthorized", DENIED)

    def test_a_mutation_s_field_is_null(self, deployment: Deployment, mode: AuthMode) -> None:
        response = _post(deployment, mode, Quality.GOOD, CREATE_CLOSED)
        assert response.status_code == 200
        answer = response.json()
        assert answer["data"] == {"createNote": {"id": "1", "closed": None}}
        (error,) = answer["errors"]
        assert (error["errorType"], error["message"]) == ("Unauthorized", DENIED)
        assert error["path"] == ["createNote", "closed"]


def test_publishers_and_operators_have_keys_of_their_own(deployment: Deployment) -> None:
    url = deployment.served.url
    event = {"mutation": "createNote", "data": {"id": "1"}}
    assert httpx.post(f"{url}/events", json=event, headers={"x-api-key": PUBLISHER_KEY}).status_code == 202
    assert httpx.get(f"{url}/admin/connections", headers={"x-api-key": ADMIN_KEY}).status_code == 200


_REFUSED = {
    "errorType": "UnauthorizedException",
    "message": "You are not authorized to make this call.",
    "errorCode": 401,
}


async def _start(
    deployment: Deployment, client: AppSyncClient, mode: AuthMode, quality: Quality, query: str
) -> dict[str, Any]:
    data = json.dumps({"query": query, "variables": {}})
    headers = deployment.build_headers(mode, quality, "/graphql", data.encode())
    payload = {"data": data, "extensions": {"authorization": headers}}
    await client.send({"type": "start", "id": "s", "payload": payload})
    return await client.receive()


def _post(deployment: Deployment, mode: AuthMode, quality: Quality, query: str) -> httpx.Response:
    body = json.dumps({"query": query}).encode()
    headers = deployment.build_headers(mode, quality, "/graphql", body)
    return httpx.post(f"{deployment.served.url}/graphql", content=body, headers=headers)


def _assert_refused(response: httpx.Response) -> None:
    assert response.status_code == 401
    error = {"errorType": "UnauthorizedException", "message": "You are not authorized to make this call."}
    assert response.json() == {"errors": [error]}
