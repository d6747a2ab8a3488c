"""Keys and tokens for tests, and an issuer that serves its keys over HTTP as a real OpenID Connect provider does."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@functools.cache
def make_key(name: str, kind: str = "RSA", bits: int = 2048) -> Any:
    """A private key, the same for the same name; `kind` is RSA or a curve."""
    if kind == "RSA":
        return rsa.generate_private_key(65537, bits)
    return ec.generate_private_key(CURVES[kind])


def show_key(key: Any, key_id: str, **members: Any) -> dict[str, Any]:
    """What an issuer publishes of a key."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    shown = algorithm.to_jwk(key.public_key(), as_dict=True)
    shown.pop("key_ops", None)
    return {**shown, "kid": key_id, "use": "sig", **members}


def sign(
    claims: Mapping[str, Any], key: Any = None, key_id: str = "k1", algorithm: str = "RS256", **headers: Any
) -> str:
    """A token with these claims, signed by the key `k1` unless told otherwise."""
    return jwt.encode(dict(claims), key or make_key("k1"), algorithm, {"kid": key_id, **headers})


class Issuer:
    """A served issuer. A test turns its keys, holds its answers back, or puts other answers in place of them.

    `requests` are the paths that were asked for; `answers` replaces what a path answers: status, body, headers.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, Any] = {"k1": make_key("k1")}
        self.requests: list[str] = []
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        self.may_answer = threading.Event()
        self.may_answer.set()

    def replace_answer(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.answers[path] = (status, body, headers)

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        self.requests.append(path)
        self.may_answer.wait(20)
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                # The members of a real provider's document, of which only two concern us.
                document: dict[str, Any] = {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/oauth/token",
                    "userinfo_endpoint": f"{self.url}/userinfo",
                    "jwks_uri": f"{self.url}/.well-known/jwks.json",
                    "response_types_supported": ["code", "id_token", "token id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["HS256", "RS256"],
                    "claims_supported": ["aud", "auth_time", "exp", "iat", "iss", "sub"],
                }
            case "/.well-known/jwks.json":
                document = {"keys": [show_key(key, key_id, alg="RS256") for key_id, key in self.keys.items()]}
            case _:
                return 404, b"", {}
        return 200, json.dumps(document).encode(), {"content-type": "application/json"}


@contextmanager
def serve_issuer() -> Iterator[Issuer]:
    """An issuer on a free port of loopback, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = issuer.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                pass  # who asked did not want all of it

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        issuer.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()
