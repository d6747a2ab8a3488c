from __future__ import annotations

import json
from typing import Any

import pytest

from fanout.errors import BadRequest, DuplicatedOperation, Unauthorized
from fanout.protocol import APPSYNC, BadMessage
from fanout.protocol.conversation import Init, Start, Stop
from tests.fanout.protocol.parsing import parse

QUERY = "subscription { onCreateMessage { id } }"


def start(payload: Any, id: Any = "1") -> str:
    return json.dumps({"id": id, "type": "start", "payload": payload})


@pytest.mark.parametrize("text", ['{"type":"connection_init"}', '{"type":"connection_init","payload":{}}'])
def test_init_of_appsync_s_clients_brings_nothing(text: str) -> None:
    assert parse(APPSYNC, text) == Init({})


def test_init_can_bring_credentials() -> None:
    assert parse(APPSYNC, '{"type":"connection_init","payload":{"Authorization":"t"}}') == Init({"authorization": "t"})


def test_start_as_amplify_writes_it() -> None:
    data = json.dumps({"query": QUERY, "variables": {"roomId": "r"}})
    authorization = {"host": "h", "x-api-key": "k", "X-Amz-User-Agent": "aws-amplify/6.22.1", "x-number": 5}
    command = parse(APPSYNC, start({"data": data, "extensions": {"authorization": authorization}}))
    headers = {"host": "h", "x-api-key": "k", "x-amz-user-agent": "aws-amplify/6.22.1"}
    assert command == Start("1", QUERY, None, {"roomId": "r"}, headers, hash(data), signed=data)


def test_start_needs_no_extensions_and_ignores_what_it_does_not_know() -> None:
    for extensions in ({}, {"extensions": None}, {"extensions": {}}, {"extensions": {"authorization": None}}):
        command = parse(
            APPSYNC, start({"data": json.dumps({"query": QUERY, "extensions": 5}), "more": [], **extensions})
        )
        assert isinstance(command, Start)
        assert command.headers == {}


def test_the_same_data_has_the_same_fingerprint() -> None:
    one, same, other = (
        parse(APPSYNC, start({"data": data})) for data in ('{"query":"q"}', '{"query":"q"}', '{"query": "q"}')
    )
    assert isinstance(one, Start)
    assert isinstance(same, Start)
    assert isinstance(other, Start)
    assert one.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "payload",
    [
        None,
        "x",
        {},
        {"data": {"query": QUERY}},
        {"data": "not JSON"},
        {"data": "[]"},
        {"data": "[" * 3000},
        {"data": '{"query":5}'},
        {"data": '{"query":"q","variables":[]}'},
        {"data": '{"query":"q"}', "extensions": []},
        {"data": '{"query":"q"}', "extensions": {"authorization": "k"}},
    ],
)
def test_a_bad_start_is_told_with_its_id(payload: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(APPSYNC, start(payload))
    assert caught.value.id == "1"


@pytest.mark.parametrize("kind", ["subscribe", "connection_terminate", "data", "", 5, None, ["start"]])
def test_other_types_are_bad_messages_without_id(kind: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        parse(APPSYNC, json.dumps({"type": kind, "id": "1"}))
    assert caught.value.id is None


def test_stop() -> None:
    assert parse(APPSYNC, '{"type":"stop","id":"1"}') == Stop("1")


def test_messages_as_the_service_writes_them() -> None:
    assert APPSYNC.ack(300_000) == b'{"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}'
    assert APPSYNC.keep_alive() == b'{"type":"ka"}'
    assert APPSYNC.started("1") == b'{"type":"start_ack","id":"1"}'
    assert APPSYNC.complete('"ä') == '{"type":"complete","id":"\\"ä"}'.encode()
    assert APPSYNC.pong({}) is None
    assert APPSYNC.connection_error(Unauthorized()) == (
        b'{"type":"connection_error","payload":{"errors":[{"errorType":"UnauthorizedException",'
        b'"message":"You are not authorized to make this call.","errorCode":401}]}}'
    )


def test_errors_are_always_an_array() -> None:
    assert APPSYNC.error("1", DuplicatedOperation("Duplicated operation with id 1")) == (
        b'{"type":"error","id":"1","payload":{"errors":[{"errorType":"DuplicatedOperationError",'
        b'"message":"Duplicated operation with id 1"}]}}'
    )
    several = BadRequest(
        "invalid", errors=[{"message": "a", "locations": [{"line": 1, "column": 2}]}, {"message": "b"}]
    )
    assert json.loads(APPSYNC.error(None, several)) == {
        "type": "error",
        "payload": {
            "errors": [
                {
                    "errorType": "BadRequestException",
                    "message": "a",
                    "locations": [{"line": 1, "column": 2}],
                    "errorCode": 400,
                },
                {"errorType": "BadRequestException", "message": "b", "errorCode": 400},
            ]
        },
    }


def test_an_acknowledgement_tells_where_a_subscription_begins_if_that_was_asked_for() -> None:
    assert APPSYNC.started("1") == b'{"type":"start_ack","id":"1"}'
    assert json.loads(APPSYNC.started("1", "abc")) == {
        "type": "start_ack",
        "id": "1",
        "payload": {"extensions": {"fanout": {"position": "abc"}}},
    }
