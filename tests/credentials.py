"""Credentials of every authorization mode, good and bad, as clients send them: for tests that drive a served process.

Made by others' code where there is some: tokens by PyJWT, signatures by botocore. The issuer and the authorizer
function are served over HTTP on loopback.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa

from fanout.model import AuthMode

REGION = "eu-west-1"
POOL = f"{REGION}_TestPool1"
CLIENT_ID = "app-1"
ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTESTTEST", "a-secret-that-signs"
LAMBDA_TOKEN = "lambda-token"


class Quality(Enum):
    """What is right or wrong with credentials."""

    GOOD = "good"
    WRONG = "wrong"
    EXPIRED = "expired"
    MISSING = "missing"
    OTHER_MODE = "of a mode or door that is not this one"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Entry:
    """A way in, as far as a signature covers it."""

    url: str
    body: bytes


class Issuer:
    """Issues tokens, and serves its keys and the authorizer function."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def jwks(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}

    def sign(self, claims: Mapping[str, Any], *, is_right: bool = True) -> str:
        key = self._key if is_right else self._other_key
        return jwt.encode(dict(claims), key, algorithm="RS256", headers={"kid": "k1"})


@contextmanager
def run_issuer() -> Iterator[Issuer]:
    """Serve an issuer until the block ends."""
    answers: dict[str, Callable[[bytes], Any]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("content-length", 0))))

        def _answer(self, body: bytes) -> None:
            answer = answers.get(self.path)
            text = b"{}" if answer is None else json.dumps(answer(body)).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    answers["/pool/.well-known/jwks.json"] = lambda _: issuer.jwks
    answers["/keys"] = lambda _: issuer.jwks
    answers["/.well-known/openid-configuration"] = lambda _: {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"}
    answers["/authorize"] = _authorize
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _authorize(body: bytes) -> dict[str, Any]:
    token = json.loads(body)["authorizationToken"]
    return {"isAuthorized": token == LAMBDA_TOKEN, "resolverContext": {"tenant": "t1"}}


def build_headers(
    mode: AuthMode, quality: Quality, issuer: Issuer, entry: Entry, api_keys: Mapping[Quality, str]
) -> dict[str, str]:
    """The headers that a client of this mode sends; `host` is left to the caller.

    Args:
        mode: whose credentials.
        quality: what is right or wrong with them.
        issuer: signs tokens.
        entry: what a signature is made for.
        api_keys: keys by their quality.
    """
    if quality is Quality.MISSING:
        return {}
    match mode:
        case AuthMode.API_KEY:
            return {"x-api-key": api_keys[quality]}
        case AuthMode.COGNITO:
            return {"authorization": _build_cognito_token(quality, issuer)}
        case AuthMode.OIDC:
            return {"authorization": _build_oidc_token(quality, issuer)}
        case AuthMode.IAM:
            return _sign(quality, entry)
        case AuthMode.LAMBDA:
            tokens = {
                Quality.GOOD: LAMBDA_TOKEN,
                Quality.WRONG: "lambda-wrong",
                Quality.EXPIRED: "lambda-expired",
                Quality.OTHER_MODE: api_keys[Quality.GOOD],
                Quality.MALFORMED: "not as the validation expression asks",
            }
            return {"authorization": tokens[quality]}


def _build_cognito_token(quality: Quality, issuer: Issuer) -> str:
    now = int(time.time())
    claims = {
        "sub": "ada",
        "iss": f"{issuer.url}/pool",
        "token_use": "access",
        "client_id": CLIENT_ID,
        "username": "ada",
        "cognito:groups": ["readers"],
        "iat": now - 10,
        "exp": now + 600,
    }
    return _build_token(quality, issuer, claims, {"token_use": "refresh"})


def _build_oidc_token(quality: Quality, issuer: Issuer) -> str:
    now = int(time.time())
    claims = {"sub": "bob", "iss": issuer.url, "aud": CLIENT_ID, "iat": now - 10, "exp": now + 600}
    return _build_token(quality, issuer, claims, {"aud": "another-app"})


def _build_token(quality: Quality, issuer: Issuer, claims: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    match quality:
        case Quality.EXPIRED:
            return issuer.sign({**claims, "iat": claims["iat"] - 7200, "exp": claims["exp"] - 7200})
        case Quality.OTHER_MODE:
            return issuer.sign({**claims, **others})
        case Quality.MALFORMED:
            return issuer.sign(claims)[:-30]
        case _:
            return issuer.sign(claims, is_right=quality is not Quality.WRONG)


class _LateSigV4Auth(SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs as of long ago."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = "20200101T000000Z"
        super()._modify_request_before_signing(request)


def _sign(quality: Quality, entry: Entry) -> dict[str, str]:
    secret = "another-secret" if quality is Quality.WRONG else SECRET_KEY
    headers = {
        "accept": "application/json, text/javascript",
        "content-encoding": "amz-1.0",
        "content-type": "application/json; charset=UTF-8",
    }
    request = AWSRequest("POST", entry.url, data=entry.body, headers=headers)
    service = "execute-api" if quality is Quality.OTHER_MODE else "appsync"
    signer = _LateSigV4Auth if quality is Quality.EXPIRED else SigV4Auth
    signer(Credentials(ACCESS_KEY, secret), service, REGION).add_auth(request)
    signed = {name.lower(): value for name, value in request.headers.items()}
    if quality is Quality.MALFORMED:
        signed["authorization"] = signed["authorization"].replace("SignedHeaders=", "SignedHeaders:")
    return signed
