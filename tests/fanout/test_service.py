"""The pieces of wiring that stand alone; that the whole runs is shown in tests/system."""

from __future__ import annotations

import contextlib
import socket
import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from fanout.development_tls import create_development_certificate
from fanout.errors import ConfigurationError, SchemaError
from fanout.service import build_tls_context, check_ways_in, load_schema, open_listener
from fanout.settings import Settings


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.graphql"
    path.write_text("type Query { a: Int } type Mutation { m: Int }")
    assert load_schema(path).mutations == {"m"}
    assert "createMessage" in load_schema(None).mutations


def test_a_schema_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the schema: No such file"):
        load_schema(tmp_path / "none.graphql")
    binary = tmp_path / "binary.graphql"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_schema(binary)
    bad = tmp_path / "bad.graphql"
    bad.write_text("type Query {")
    with pytest.raises(SchemaError, match=r"bad\.graphql:1:"):
        load_schema(bad)


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            open_listener("127.0.0.1", port)
    with pytest.raises(ConfigurationError, match=r"cannot listen on no-such-host\.invalid: "):
        open_listener("no-such-host.invalid", 0)


def test_workers_can_share_a_port() -> None:
    with open_listener("127.0.0.1", 0, shared=True) as first:
        port = first.getsockname()[1]
        with open_listener("127.0.0.1", port, shared=True) as second:
            assert second.getsockname()[1] == port


def shake_hands(server: ssl.SSLContext, version: ssl.TLSVersion) -> str | None:
    """A whole TLS handshake with a client that speaks one version only; the version that was agreed to."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (here, there, here, there, here):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return here.version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused_whatever_the_system_would_speak(tmp_path: Path) -> None:
    files = create_development_certificate(tmp_path)

    def build() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.cert, files.key)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        return context

    config = uvicorn.Config("unused")
    assert shake_hands(build(), ssl.TLSVersion.TLSv1_1) == "TLSv1.1"
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
            shake_hands(build_tls_context(config, build), old)
    assert shake_hands(build_tls_context(config, build), ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert shake_hands(build_tls_context(config, build), ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"api_key": ["da2-a@tomorrow"]}, "api_key 1"),
        ({"cognito": [{"user_pool_id": "nonsense"}]}, "cognito nonsense"),
        ({"oidc": [{"issuer": "http://login.example.com"}]}, "by https only"),
        ({"lambda_authorizer": {"url": "nowhere"}}, r"lambda_authorizer\.url"),
    ],
)
def test_what_is_wrong_with_a_way_in_is_told_before_anything_is_started(settings: dict[str, Any], problem: str) -> None:
    check_ways_in(Settings())
    with pytest.raises(ConfigurationError, match=problem):
        check_ways_in(Settings.model_validate(settings))
