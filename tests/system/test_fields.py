"""Fields that are open to one way in and closed to another, against `fanout serve`: API keys and tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.issuer import Issuer, serve_issuer, sign
from tests.served import API_KEY, PUBLISHER_KEY, Served, connect_appsync, serve

SDL = """
type Note @aws_api_key @aws_oidc { id: ID! text: String author: Author secret: String @aws_oidc }
type Author @aws_api_key @aws_oidc { name: String email: String @aws_oidc }
input AuthorInput { name: String email: String }
input NoteInput { id: ID! text: String secret: String author: AuthorInput }
type Query { version: String }
type Mutation {
  createNote(input: NoteInput!): Note @aws_api_key @aws_oidc
  purge(id: ID): String @aws_oidc
}
type Subscription {
  onCreateNote: Note @aws_subscribe(mutations: ["createNote"]) @aws_api_key @aws_oidc
  onPurge: String @aws_subscribe(mutations: ["purge"]) @aws_oidc
}
"""
KEY = {"x-api-key": API_KEY}
EVERYTHING = "subscription { onCreateNote { ...All } } fragment All on Note { id secret author { email } }"
OPEN_TO_KEYS = "subscription { onCreateNote { id text author { name } } }"
CREATE = "mutation ($input: NoteInput!) { createNote(input: $input) { id text secret author { name email } } }"
NOTE = {"id": "1", "text": "t", "secret": "s", "author": {"name": "n", "email": "e"}}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with serve_issuer() as served:
        yield served


@pytest.fixture
def served(tmp_path: Path, issuer: Issuer) -> Iterator[Served]:
    (tmp_path / "api.graphql").write_text(SDL)
    (tmp_path / "fanout.toml").write_text(
        f"""
        schema = "{tmp_path / "api.graphql"}"
        api_key = ["{API_KEY}"]
        publisher_key = ["{PUBLISHER_KEY}"]
        admin_key = ["da2-operator"]
        [[oidc]]
        issuer = "{issuer.url}"
        client_id = "web"
        """
    )
    with serve("--config", "fanout.toml", keys=False, directory=tmp_path) as process:
        yield process


async def start(client: Any, id: str, query: str, headers: dict[str, str]) -> Any:
    payload = {"data": json.dumps({"query": query}), "extensions": {"authorization": headers}}
    await client.send({"type": "start", "id": id, "payload": payload})
    return await client.receive()


def denied(id: str, field: str, type_name: str) -> dict[str, Any]:
    error = {"errorType": "Unauthorized", "message": f"Not Authorized to access {field} on type {type_name}"}
    return {"type": "error", "id": id, "payload": {"errors": [error]}}


async def test_two_ways_in_see_what_is_open_to_them(served: Served, issuer: Issuer, tmp_path: Path) -> None:
    now = int(time.time())
    claims = {"iss": issuer.url, "sub": "ada", "aud": "web", "iat": now, "exp": now + 3600}
    token = {"authorization": sign(claims)}

    def post(headers: dict[str, str], query: str, variables: Any = None) -> Any:
        body = {"query": query, "variables": variables}
        response = httpx.post(f"{served.url}/graphql", headers=headers, json=body, timeout=20)
        assert response.status_code == 200
        return response.json()

    async with connect_appsync(served.url) as client:
        assert await start(client, "k1", EVERYTHING, KEY) == denied("k1", "secret", "Note")
        assert await start(client, "k2", "subscription { onPurge }", KEY) == denied("k2", "onPurge", "Subscription")
        for id, query, headers in (("key", OPEN_TO_KEYS, KEY), ("user", EVERYTHING, token)):
            assert await start(client, id, query, headers) == {"type": "start_ack", "id": id}

        # A key's mutation: its own answer and everybody's event lack what is closed to it.
        answer = post(KEY, CREATE, {"input": NOTE})
        assert answer["data"]["createNote"] == {**NOTE, "secret": None, "author": {"name": "n", "email": None}}
        assert [error["path"] for error in answer["errors"]] == [
            ["createNote", "secret"],
            ["createNote", "author", "email"],
        ]
        got = dict([await client.receive_data() for _ in range(2)])
        assert got["user"]["data"] == {"onCreateNote": {"id": "1", "secret": None, "author": {"email": None}}}
        assert got["key"]["data"] == {"onCreateNote": {"id": "1", "text": "t", "author": {"name": "n"}}}

        # A user's: the key's subscription gets what it selects, and could not have selected more.
        assert "errors" not in post(token, CREATE, {"input": NOTE})
        got = dict([await client.receive_data() for _ in range(2)])
        assert got["user"]["data"] == {"onCreateNote": {"id": "1", "secret": "s", "author": {"email": "e"}}}
        assert got["key"]["data"] == {"onCreateNote": {"id": "1", "text": "t", "author": {"name": "n"}}}

        # Publishers are not asked about fields.
        event = {"mutation": "createNote", "data": NOTE}
        response = httpx.post(f"{served.url}/events", headers={"x-api-key": PUBLISHER_KEY}, json=event, timeout=20)
        assert response.status_code == 202
        got = dict([await client.receive_data() for _ in range(2)])
        assert got["user"]["data"]["onCreateNote"]["secret"] == "s"

        # A mutation that is closed is not executed; the query is of the default mode.
        assert post(KEY, "mutation { purge(id: 1) }")["data"] == {"purge": None}
        assert post(KEY, "{ version __typename }") == {"data": {"version": None, "__typename": "Query"}}
        (error,) = post(token, "{ version __typename }")["errors"]
        assert error["message"] == "Not Authorized to access version on type Query"

        # A reload closes `text` to keys: the one subscription that selects it by a key ends, the other goes on.
        (tmp_path / "api.graphql").write_text(SDL.replace("text: String author", "text: String @aws_oidc author"))
        operator = {"x-api-key": "da2-operator"}
        report = httpx.post(f"{served.url}/admin/reload", headers=operator, json={}, timeout=20).json()["reports"][0]
        assert (report["changed"], report["ended"]) == (["schema"], {"connections": 0, "subscriptions": 1})
        assert await client.receive() == denied("key", "text", "Note")
        assert "errors" not in post(token, CREATE, {"input": NOTE})
        assert (await client.receive_data())[0] == "user"
