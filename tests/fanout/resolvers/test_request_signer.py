"""Signatures of requests to data sources, compared with botocore's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fanout.resolver_settings import SigningSettings
from fanout.resolvers.request_signer import RequestSigner

NOW = 1_700_000_000.0
STAMP = "20231114T221320Z"


def build(service: str, **more: str) -> RequestSigner:
    settings = SigningSettings.model_validate(
        {"region": "eu-west-1", "service": service, "access_key_id": "AKIA", "secret_access_key": "hush"} | more
    )
    return RequestSigner(settings, lambda: NOW)


@pytest.mark.parametrize("service", ["states", "execute-api", "s3"])
@pytest.mark.parametrize("token", ["", "temporary"])
@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/", b"{}"),
        ("GET", "/v1/users", b""),
        ("GET", "/v1/us%20ers/%C3%A4:b/a+b@c", b""),
        ("GET", "/v1?b=2&a=1&a=0&c=&d=%20%2F", b""),
        ("PUT", "/key", "ä".encode()),
    ],
)
def test_signatures_are_those_of_botocore(
    monkeypatch: pytest.MonkeyPatch, service: str, token: str, method: str, target: str, body: bytes
) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW, UTC))
    if service == "s3":  # botocore takes it for encoded as S3 wants it
        target = target.replace(":", "%3A").replace("+", "%2B").replace("@", "%40")
    headers = {"host": "api.example.com", "content-type": "application/json", "x-own": "a  b"}
    ours = build(service, **({"session_token": token} if token else {})).sign(method, target, headers, body)
    theirs = AWSRequest(method, f"https://api.example.com{target}", headers=dict(headers), data=body)
    credentials: Any = Credentials("AKIA", "hush", token or None)
    (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, "eu-west-1").add_auth(theirs)
    assert ours["x-amz-date"] == STAMP
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours.get("x-amz-security-token", "") == token


def test_a_resolvers_own_authorization_is_no_part_of_it() -> None:
    signer = build("states")
    headers = {"host": "a"}
    assert signer.sign("GET", "/", headers, b"") == signer.sign("GET", "/", headers | {"authorization": "mine"}, b"")
