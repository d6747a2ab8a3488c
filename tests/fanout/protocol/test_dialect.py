from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given

from fanout.errors import ClientFault
from fanout.model import CloseReason
from fanout.protocol import APOLLO_WS, APPSYNC, DIALECTS, TRANSPORT_WS, BadMessage, Dialect
from fanout.protocol.conversation import Command, Init, Ping, Pong, Start, Stop, Terminate
from fanout.protocol.dialect import decode_message, read_id, read_operation, show_type
from tests.fanout.protocol.parsing import parse
from tests.fanout.protocol.strategies import texts

ALL = sorted(DIALECTS.values(), key=lambda dialect: dialect.name)
DOCUMENT = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name.value)
@given(text=texts)
def test_any_text_is_a_command_or_a_client_fault(dialect: Dialect, text: str | bytes) -> None:
    result = try_to_parse(dialect, text)
    assert isinstance(result, Init | Start | Stop | Ping | Pong | Terminate | BadMessage)
    if isinstance(result, BadMessage):
        assert result.errors
        assert isinstance(dialect.error(result.id, result), bytes)


def try_to_parse(dialect: Dialect, text: str | bytes) -> Command | ClientFault:
    try:
        return parse(dialect, text)
    except ClientFault as fault:
        return fault


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "1", b"\xff{}", "{}x", "[" * 5000, '{"a":1e999}', "\ud800"], ids=repr
)
def test_what_is_no_object_is_a_bad_message(text: str | bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        decode_message(text)
    assert caught.value.id is None


@pytest.mark.parametrize("id", [None, "", 1, 1.5, True, [], {}, "x" * 257])
def test_an_id_is_a_string_of_bounded_length(id: object) -> None:
    with pytest.raises(BadMessage, match="'stop': 'id'"):
        read_id({"type": "stop", "id": id})
    assert read_id({"type": "stop", "id": "x" * 256}) == "x" * 256


def test_an_operation_s_members() -> None:
    start = read_operation({"query": "q", "variables": None, "operationName": "", "more": 1}, "1", {}, "here")
    assert start == Start("1", "q", None, {}, {}, 0)
    start = read_operation({"query": "q", "variables": {"a": 1}, "operationName": "O"}, "1", {"h": "v"}, "here", 5)
    assert start == Start("1", "q", "O", {"a": 1}, {"h": "v"}, 5)


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ({}, "query"),
        ({"query": None}, "query"),
        ({"query": {}}, "query"),
        ({"query": "q", "variables": []}, "variables"),
        ({"query": "q", "variables": "{}"}, "variables"),
        ({"query": "q", "operationName": 1}, "operationName"),
    ],
)
def test_a_bad_operation_is_told_with_its_id(operation: dict[str, object], member: str) -> None:
    with pytest.raises(BadMessage, match=rf"^here\.{member} has to be") as caught:
        read_operation(operation, "1", {}, "here")
    assert caught.value.id == "1"


def test_a_type_is_shown_cut_short() -> None:
    assert show_type({"type": "stop"}) == "'stop'"
    assert show_type({"type": ["x"]}) == "message without a 'type'"
    assert len(show_type({"type": "x" * 1000})) < 50


# docs/protocols.md says what was built


def _row(first_cell: str) -> list[str]:
    (line,) = re.findall(rf"^\| {re.escape(first_cell)} \|.*$", DOCUMENT, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


COLUMNS = (APPSYNC, TRANSPORT_WS, APOLLO_WS)


def test_the_document_shows_the_rules() -> None:
    assert _row("start before the acknowledgement") == [d.rules.early_start.value for d in COLUMNS]
    assert _row("start with an id in use") == [d.rules.repeated_id.value for d in COLUMNS]
    for cell, dialect in zip(_row("second `connection_init` after the acknowledgement"), COLUMNS, strict=True):
        again = dialect.rules.repeated_init
        assert cell == ("acknowledged again" if again is None else f"closed with {again.code}")
    for cell, dialect in zip(_row("bad message"), COLUMNS, strict=True):
        reason = dialect.rules.bad_message
        assert cell == ("answered with an error" if reason is None else f"closed with {reason.code}")
    for cell, dialect in zip(_row("credentials refused"), COLUMNS, strict=True):
        assert cell.endswith(f"closed with {dialect.rules.refused_init.code}")
    for cell, dialect in zip(_row("stop of an id in use"), COLUMNS, strict=True):
        assert cell == ("answered with `complete`" if dialect.rules.stop_is_answered else "not answered")
    for cell, dialect in zip(_row("a subscription is invalidated"), COLUMNS, strict=True):
        reason = dialect.rules.invalidated
        assert cell == ("`error`; the connection stays" if reason is None else f"`error`, closed with {reason.code}")


@pytest.mark.parametrize("reason", CloseReason)
def test_the_document_lists_every_close_reason(reason: CloseReason) -> None:
    assert f"\n| {reason.code} | `{reason.label}` | " in DOCUMENT


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name.value)
def test_the_document_lists_every_message(dialect: Dialect) -> None:
    section = DOCUMENT.split(f"## Dialect `{dialect.name.value}`\n")[1].split("\n## ")[0]
    listed = set(re.findall(r'^\| server \| `\{"type":"(\w+)"', section, re.MULTILINE))
    fault = BadMessage("x")
    written = [
        dialect.ack(1),
        dialect.keep_alive(),
        dialect.started("1"),
        dialect.error("1", fault),
        dialect.connection_error(fault),
        dialect.complete("1") if dialect.rules.stop_is_answered else None,
        dialect.pong(None),
        dialect.data_prefix + b'"1"' + dialect.data_middle + b"{}" + dialect.data_suffix,
    ]
    assert {str(decode_message(message)["type"]) for message in written if message is not None} == listed
    for kind in re.findall(r'^\| client \| `\{"type":"(\w+)"', section, re.MULTILINE):
        # Known, even where members are missing.
        assert "use connection_init" not in str(try_to_parse(dialect, f'{{"type":"{kind}"}}'))
