"""The pieces of wiring that stand alone; that the whole runs is shown in tests/system."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fanout.errors import ConfigurationError, SchemaError
from fanout.service import load_schema, open_listener


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
