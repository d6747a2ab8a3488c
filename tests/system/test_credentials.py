"""Credentials are in no line of the log, no metric and no answer, whatever way they come in and whatever is wrong.

Every credential of this test holds a mark. All entries are driven with good and bad ones, at the level `debug`, and
then everything that the service has said is searched for the marks.
"""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.served import Served, encode_header, serve, wait_until

MARK = "mArKeD"
GOOD_KEY, PUBLISHER, ADMIN = f"da2-{MARK}-client", f"da2-{MARK}-publisher", f"da2-{MARK}-admin"
BAD_KEY = f"da2-{MARK}-wrong"
GOOD_TOKEN, BAD_TOKEN, BREAKING_TOKEN = f"{MARK}-token-good", f"{MARK}-token-bad", f"{MARK}-token-breaking"
SECRET, WRONG_SECRET, SESSION_TOKEN = f"{MARK}-secret", f"{MARK}-no-secret", f"{MARK}-session"
ON_CREATE = "subscription { onCreateMessage { id } }"
QUERY = {"query": "{ __typename }"}


def encode_jwt(claims: Mapping[str, Any]) -> str:
    """Looks like a JWT; signature and a claim are marked."""
    parts = [{"alg": "RS256", "kid": "k", "typ": "JWT"}, {"sub": MARK, **claims}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, MARK])


JWT = encode_jwt({"iss": "https://issuer.example", "exp": 4_000_000_000})
# Nobody listens there: whose it is cannot be decided.
AWAY = "http://127.0.0.1:1"
JWT_OF_ISSUER = encode_jwt({"iss": AWAY, "exp": 4_000_000_000, "iat": 1_000_000_000})
# What encodes a mark without showing it, as it is searched for.
HIDDEN = [
    base64.b64encode(MARK.encode()).decode()[:8],
    JWT.split(".")[1][:40],
    JWT_OF_ISSUER.split(".")[1][:40],
]


class Authorizer(http.server.BaseHTTPRequestHandler):
    """An authorizer function that says too much."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        token = asked["authorizationToken"]
        body = json.dumps({"isAuthorized": token == GOOD_TOKEN, "resolverContext": {}}).encode()
        if token == BREAKING_TOKEN:
            body = f"defect with {token}".encode()
        self.send_response(500 if token == BREAKING_TOKEN else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def run_authorizer() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Authorizer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{MARK}:{MARK}@127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with run_authorizer() as url:
        config = tmp_path / "fanout.toml"
        config.write_text(
            f"""
log_level = "debug"
api_key = ["{GOOD_KEY}"]
publisher_key = ["{PUBLISHER}"]
admin_key = ["{ADMIN}"]
[iam]
users = [
  {{ access_key_id = "AKIAGOOD", secret_access_key = "{SECRET}", session_token = "{SESSION_TOKEN}" }},
]
[[oidc]]
issuer = "{AWAY}"
[lambda_authorizer]
url = "{url}"
"""
        )
        with serve("--config", str(config), keys=False) as process:
            yield process


def sign(url: str, body: bytes, secret: str, session_token: str = SESSION_TOKEN) -> dict[str, str]:
    """Signed by botocore, in the names of AppSync's header object."""
    request = AWSRequest("POST", url, data=body, headers={"host": url.split("/")[2]})
    SigV4Auth(Credentials("AKIAGOOD", secret, session_token), "appsync", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def list_credentials(url: str, body: bytes) -> list[dict[str, str]]:
    """Good ones and all kinds of bad ones, as headers for a request with this body."""
    signed = sign(url, body, SECRET)
    return [
        {"x-api-key": GOOD_KEY},
        {"x-api-key": BAD_KEY},
        {"x-api-key": PUBLISHER},
        {"x-api-key": ADMIN},
        {"authorization": GOOD_TOKEN},
        {"authorization": BAD_TOKEN},
        {"authorization": BREAKING_TOKEN},
        {"authorization": f"Bearer {JWT}"},
        {"authorization": JWT},
        {"authorization": JWT_OF_ISSUER},
        {"authorization": GOOD_TOKEN, "x-api-key": BAD_KEY},
        signed,
        sign(url, body, WRONG_SECRET),
        sign(url, body, SECRET, f"{MARK}-other-session"),
        {**signed, "authorization": signed["authorization"] + MARK},
        {**signed, "authorization": signed["authorization"].replace("Signature=", f"Signature={MARK}, X=")},
        {**signed, "x-amz-date": MARK},
        {"authorization": f"AWS4-HMAC-SHA256 {MARK}"},
        {"authorization": f"AWS4-HMAC-SHA256 Credential={MARK}/20260101/us-east-1/appsync/aws4_request, Signature=0"},
    ]


class Said:
    """Everything that the service has said to clients."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.texts: list[str] = []
        self.outcomes: set[object] = set()

    def note(self, *texts: object) -> None:
        self.texts += map(str, texts)

    def ask(self, method: str, path: str, **options: Any) -> None:
        answer = self.http.request(method, path, **options)
        self.note(answer.headers, answer.text)
        self.outcomes.add((path.partition("?")[0], answer.status_code))


def drive_http(served: Served, said: Said) -> None:
    body = json.dumps(QUERY).encode()
    event = json.dumps({"mutation": "createMessage", "data": {"id": "1"}}).encode()
    url = f"{served.url}/graphql"
    for headers in list_credentials(url, body):
        for path, content in (("/graphql", body), ("/graphql", b"{" + MARK.encode()), ("/events", event)):
            said.ask("POST", path, content=content, headers=headers)
        said.ask("GET", "/admin/connections", headers=headers)
        said.ask("POST", "/graphql", params=headers, content=body)
        said.ask("GET", "/graphql/realtime", params=headers, headers=headers)
        said.ask("PUT", "/nothing", params=headers, headers=headers)
    admin = {"x-api-key": ADMIN}
    for order in ({"identity": GOOD_KEY}, {"identity": JWT}, {"connectionId": "none"}):
        said.ask("POST", "/admin/connections/close", json=order, headers=admin)
    said.ask("GET", f"/admin/connections?identity={GOOD_KEY}", headers=admin)
    said.ask("POST", "/admin/reload", headers=admin)
    for path in ("/metrics", "/healthz", "/readyz", "/ping"):
        said.ask("GET", path, headers={"authorization": GOOD_TOKEN})


async def converse(url: str, said: Said, messages: list[Any], **options: Any) -> None:
    """One connection: all that is told until it is closed, or every start is answered."""
    pending = {"end", *(message["id"] for message in messages if "id" in message)}
    seen: set[str] = set()
    last = {"type": "start", "id": "end", "payload": {}}
    try:
        async with connect(url, **options) as connection:
            said.note(connection.response and connection.response.headers)
            try:
                await connection.send(json.dumps(messages[0]))
                while pending:
                    message = str(await asyncio.wait_for(connection.recv(), 20))
                    said.note(message)
                    told = json.loads(message)
                    if told["type"] == "connection_ack" and told["type"] not in seen:
                        for following in [*messages[1:], last]:
                            await connection.send(json.dumps(following))
                    seen.add(told["type"])
                    pending.discard(told.get("id"))
            except ConnectionClosed:
                pass
        said.note(connection.close_reason)
    except InvalidStatus as refused:
        said.note(refused.response.headers, refused.response.body)
    said.outcomes |= seen


async def drive_websockets(served: Served, said: Said) -> None:
    url = served.url.replace("http", "ws") + "/graphql"
    data = json.dumps({"query": ON_CREATE})
    at_connect = list_credentials(f"{served.url}/graphql/connect", b"{}")
    at_start = list_credentials(f"{served.url}/graphql", data.encode())
    init = {"type": "connection_init"}

    def start(id: str, headers: Mapping[str, str]) -> dict[str, Any]:
        payload = {"data": data, "extensions": {"authorization": {"host": "h", **headers}}}
        return {"type": "start", "id": id, "payload": payload}

    starts = [start(f"s{number}", headers) for number, headers in enumerate(at_start)]
    ways: list[tuple[str, list[Any], dict[str, Any]]] = []
    for headers in at_connect:
        header = {"host": served.url.split("/")[2], **headers}
        encoded = encode_header(header).removeprefix("header-")
        ways += [
            (f"{url}?header={encoded}&payload=e30=", [init], {"subprotocols": ["graphql-ws"]}),
            (f"{url}?header={MARK}{encoded}", [init], {"subprotocols": ["graphql-ws"]}),
            (url, [init, *starts[:2]], {"subprotocols": ["graphql-ws", f"header-{encoded}"]}),
            (url, [init], {"subprotocols": ["graphql-ws"], "additional_headers": headers}),
            (f"{url}?{httpx.QueryParams(headers)}", [init], {"subprotocols": ["graphql-ws"]}),
            (url, [{**init, "payload": headers}], {"subprotocols": ["graphql-transport-ws"]}),
            (url, [{**init, "payload": {"headers": headers}}, {"type": "nonsense"}], {"subprotocols": ["graphql-ws"]}),
            (url + "/nothing", [], {"subprotocols": ["graphql-ws"], "additional_headers": headers}),
        ]
    good = {"subprotocols": ["graphql-ws", encode_header({"host": "h", "x-api-key": GOOD_KEY})]}
    ways.append((url, [init, *starts], good))
    ways += [(url, [init, {**init, "payload": headers}], good) for headers in at_connect]
    await asyncio.gather(*(converse(target, said, messages, **options) for target, messages, options in ways))


async def test_no_credential_is_ever_repeated(served: Served) -> None:
    with httpx.Client(base_url=served.url) as http:
        said = Said(http)
        drive_http(served, said)
    await drive_websockets(served, said)
    # Good and bad ones of every kind were really tried at every entry.
    assert {("/graphql", 200), ("/graphql", 400), ("/graphql", 401), ("/events", 202)} <= said.outcomes
    assert {("/events", 401), ("/nothing", 404), ("/admin/connections", 200)} <= said.outcomes
    assert {("/admin/connections", 401), ("/graphql", 503)} <= said.outcomes
    assert {"connection_ack", "connection_error", "start_ack", "error"} <= said.outcomes
    said.note(httpx.get(f"{served.url}/metrics").text)
    assert served.read_metric("fanout_refusals_total") > 100
    wait_until(lambda: any("nobody is let in by the authorizer" in line for line in served.log))
    served.stop()
    everything = "\n".join([*said.texts, *served.output, *served.log])
    assert re.search("debug", everything, re.IGNORECASE), "the log is not at the level that tells most"
    for mark in (MARK, *HIDDEN):
        found = [text[max(0, text.find(mark) - 200) :][:400] for text in everything.splitlines() if mark in text]
        assert found == [], mark
