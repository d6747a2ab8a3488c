from __future__ import annotations

import json
from typing import Any

import pytest

from fanout.errors import BadRequest, DuplicatedOperation
from fanout.protocol import TRANSPORT_WS, BadMessage
from fanout.protocol.conversation import Init, Ping, Pong, Start, Stop
from tests.fanout.protocol.parsing import parse


def write(**message: Any) -> str:
    return json.dumps(message)


def test_init_brings_credentials() -> None:
    assert parse(TRANSPORT_WS, write(type="connection_init")) == Init({})
    assert parse(TRANSPORT_WS, write(type="connection_init", payload=None)) == Init({})
    assert parse(TRANSPORT_WS, write(type="connection_init", payload={"X-Api-Key": "k"})) == Init({"x-api-key": "k"})


def test_subscribe() -> None:
    payload = {"query": "q", "variables": {"a": 1}, "operationName": "O", "extensions": {}}
    assert parse(TRANSPORT_WS, write(type="subscribe", id="1", payload=payload)) == Start(
        "1", "q", "O", {"a": 1}, {}, 0
    )


def test_complete_ping_and_pong() -> None:
    assert parse(TRANSPORT_WS, write(type="complete", id="1")) == Stop("1")
    assert parse(TRANSPORT_WS, write(type="ping")) == Ping(None)
    assert parse(TRANSPORT_WS, write(type="ping", payload={"a": 1})) == Ping({"a": 1})
    assert parse(TRANSPORT_WS, write(type="pong", payload={})) == Pong()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "connection_init", "payload": []},
        {"type": "connection_init", "payload": "k"},
        {"type": "subscribe", "payload": {"query": "q"}},
        {"type": "subscribe", "id": "", "payload": {"query": "q"}},
        {"type": "subscribe", "id": 1, "payload": {"query": "q"}},
        {"type": "subscribe", "id": "1"},
        {"type": "subscribe", "id": "1", "payload": {"query": 1}},
        {"type": "subscribe", "id": "1", "payload": {"query": "q", "variables": 1}},
        {"type": "subscribe", "id": "1", "payload": {"query": "q", "extensions": 1}},
        {"type": "complete"},
        {"type": "ping", "payload": 1},
        {"type": "pong", "payload": []},
        {"type": "connection_ack"},
        {"type": "next", "id": "1", "payload": {}},
        {"type": "start", "id": "1", "payload": {"query": "q"}},
        {},
    ],
)
def test_bad_messages(message: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        parse(TRANSPORT_WS, json.dumps(message))


def test_messages() -> None:
    assert TRANSPORT_WS.ack(300_000) == b'{"type":"connection_ack"}'
    assert TRANSPORT_WS.keep_alive() is None
    assert TRANSPORT_WS.started("1") is None
    assert TRANSPORT_WS.connection_error(BadRequest("x")) is None
    assert TRANSPORT_WS.complete("1") == b'{"type":"complete","id":"1"}'


def test_pong_brings_the_payload_back_if_it_can_be_written() -> None:
    assert TRANSPORT_WS.pong(None) == b'{"type":"pong"}'
    assert TRANSPORT_WS.pong({}) == b'{"type":"pong","payload":{}}'
    deep = parse(TRANSPORT_WS, '{"type":"ping","payload":' + '{"a":' * 500 + "1" + "}" * 501)
    assert isinstance(deep, Ping)
    assert TRANSPORT_WS.pong(deep.payload) == b'{"type":"pong"}'


def test_an_error_is_an_array_of_graphql_errors() -> None:
    fault = BadRequest(
        "invalid",
        errors=[{"message": "a", "locations": [{"line": 1, "column": 2}], "path": ["x"], "extensions": {"k": "v"}}],
    )
    assert json.loads(TRANSPORT_WS.error("1", fault)) == {
        "type": "error",
        "id": "1",
        "payload": [
            {
                "message": "a",
                "locations": [{"line": 1, "column": 2}],
                "path": ["x"],
                "extensions": {"errorType": "BadRequestException", "errorCode": 400, "k": "v"},
            }
        ],
    }
    assert json.loads(TRANSPORT_WS.error("1", DuplicatedOperation("two")))["payload"] == [
        {"message": "two", "extensions": {"errorType": "DuplicatedOperationError"}}
    ]
