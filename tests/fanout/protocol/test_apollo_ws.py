from __future__ import annotations

import json
from typing import Any

import pytest

from fanout.errors import BadRequest, Unauthorized
from fanout.protocol import APOLLO_WS, Agreement, BadMessage, Close, Session, negotiate
from fanout.protocol.conversation import Init, Start, Stop, Terminate
from fanout.settings import Settings
from tests.fanout.protocol.parsing import parse


@pytest.mark.parametrize(
    ("message", "recognized"),
    [
        ({"type": "connection_init"}, False),
        ({"type": "connection_init", "payload": {}}, False),
        ({"type": "connection_init", "payload": None}, False),
        ({"type": "connection_init", "payload": "x"}, False),
        ({"type": "connection_init", "payload": {"authToken": "t"}}, True),
        ({"type": "start", "id": "1", "payload": {"query": "q"}}, True),
        ({"type": "start", "id": "1", "payload": {"data": "{}"}}, False),
        ({"type": "start", "id": "1", "payload": {"data": "{}", "query": "q"}}, False),
        ({"type": "start", "id": "1", "payload": "q"}, False),
        ({"type": "connection_terminate"}, True),
        ({"type": "stop", "id": "1"}, False),
        ({"type": ["start"], "payload": {"query": "q"}}, False),
    ],
)
def test_what_only_this_client_sends(message: dict[str, Any], recognized: bool) -> None:
    assert APOLLO_WS.recognizes(message) is recognized


def test_commands() -> None:
    assert parse(APOLLO_WS, '{"type":"connection_init","payload":{"headers":{"X-Api-Key":"k"}}}') == Init(
        {"x-api-key": "k"}
    )
    assert parse(APOLLO_WS, '{"type":"connection_init","payload":[]}') == Init({})
    assert parse(
        APOLLO_WS, '{"type":"start","id":"1","payload":{"query":"q","variables":null,"operationName":"O"}}'
    ) == Start("1", "q", "O", {}, {}, 0)
    assert parse(APOLLO_WS, '{"type":"stop","id":"1"}') == Stop("1")
    assert parse(APOLLO_WS, '{"type":"connection_terminate"}') == Terminate()


@pytest.mark.parametrize(
    ("message", "id"),
    [
        ({"type": "start", "payload": {"query": "q"}}, None),
        ({"type": "start", "id": "1"}, "1"),
        ({"type": "start", "id": "1", "payload": {"data": "{}"}}, "1"),
        ({"type": "stop"}, None),
        ({"type": "subscribe", "id": "1"}, None),
        ({}, None),
    ],
)
def test_bad_messages(message: dict[str, Any], id: str | None) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(APOLLO_WS, json.dumps(message))
    assert caught.value.id == id


def test_messages() -> None:
    assert APOLLO_WS.ack(300_000) == b'{"type":"connection_ack"}'
    assert APOLLO_WS.keep_alive() == b'{"type":"ka"}'
    assert APOLLO_WS.started("1") is None
    assert APOLLO_WS.pong(None) is None
    assert APOLLO_WS.complete("1") == b'{"type":"complete","id":"1"}'
    assert APOLLO_WS.connection_error(Unauthorized()) == (
        b'{"type":"connection_error","payload":{"message":"You are not authorized to make this call."}}'
    )


def test_errors_are_one_message() -> None:
    fault = BadRequest("invalid", errors=[{"message": "a"}, {"message": "b"}])
    assert APOLLO_WS.error("1", fault) == b'{"type":"error","id":"1","payload":{"message":"a\\nb"}}'
    assert APOLLO_WS.error(None, BadRequest("x")) == b'{"type":"connection_error","payload":{"message":"x"}}'


def test_what_is_held_before_the_acknowledgement_is_bounded() -> None:
    agreement = negotiate("/graphql", "", [("sec-websocket-protocol", "graphql-ws")])
    assert isinstance(agreement, Agreement)
    session = Session(agreement, Settings(max_message_bytes=10_000))
    effects: list[object] = []
    for number in range(5):
        query = "x" * 3000
        effects += session.receive(f'{{"id":"{number}","type":"start","payload":{{"query":"{query}"}}}}')
    assert [type(effect) for effect in effects] == [Close]
    assert session.subscription_count == 0
