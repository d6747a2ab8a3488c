from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from fanout.errors import BadRequest
from fanout.model import Extensions, Overflow, OverflowPolicy
from fanout.protocol import APOLLO_WS, APPSYNC, TRANSPORT_WS
from fanout.protocol.conversation import Start
from fanout.protocol.extensions import NONE, read_extensions
from tests.fanout.protocol.parsing import parse
from tests.fanout.protocol.strategies import fanout_extensions, json_values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, NONE),
        ({}, Extensions(wants_positions=True)),
        ({"positions": None, "after": None, "overflow": None}, Extensions(wants_positions=True)),
        ({"positions": False}, NONE),
        ({"after": "abc"}, Extensions(True, "abc")),
        ({"after": "abc", "positions": False}, Extensions(False, "abc")),
        ({"overflow": "close"}, Extensions(True, None, Overflow())),
        ({"overflow": "drop-oldest"}, Extensions(True, None, Overflow(OverflowPolicy.DROP_OLDEST))),
        ({"overflow": {"policy": "latest"}}, Extensions(True, None, Overflow(OverflowPolicy.LATEST))),
        (
            {"overflow": {"policy": "latest", "path": "room.id"}},
            Extensions(True, None, Overflow(OverflowPolicy.LATEST, ("room", "id"))),
        ),
    ],
)
def test_what_is_asked_for(value: object, expected: Extensions) -> None:
    assert read_extensions(value) == expected


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "has to be an object"),
        (True, "has to be an object"),
        ({"since": "x"}, r"extensions\.fanout\.since: there is no such member; there are positions, after, overflow"),
        ({"positions": 1}, "positions has to be true or false"),
        ({"after": 5}, "after has to be a position"),
        ({"after": ""}, "after has to be a position"),
        ({"after": "x" * 4097}, "after has to be a position"),
        ({"overflow": "drop"}, "the policies are 'close', 'drop-oldest', 'latest'"),
        ({"overflow": 1}, "overflow has to be the name of a policy"),
        ({"overflow": {}}, "the policies are"),
        ({"overflow": {"policy": "latest", "field": "a"}}, "overflow has to be the name of a policy"),
        ({"overflow": {"policy": "close", "path": "a"}}, "path is for the policy 'latest' only"),
        ({"overflow": {"policy": "latest", "path": "a..b"}}, "names joined by dots"),
        ({"overflow": {"policy": "latest", "path": ""}}, "names joined by dots"),
        ({"overflow": {"policy": "latest", "path": ["a"]}}, "names joined by dots"),
    ],
)
def test_a_mistake_is_named(value: object, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        read_extensions(value)


@given(value=fanout_extensions | json_values)
def test_any_value_is_read_or_refused(value: Any) -> None:
    try:
        read = read_extensions(value)
    except BadRequest:
        return
    assert isinstance(read, Extensions)


def start_of(text: str, dialect: Any) -> Start:
    command = parse(dialect, text)
    assert isinstance(command, Start)
    return command


def messages(extensions: Any) -> list[tuple[Any, str]]:
    """The same start in every place where a client can say it."""
    operation = {"query": "q", "extensions": extensions}
    return [
        (APPSYNC, {"type": "start", "id": "1", "payload": {"data": '{"query":"q"}', "extensions": extensions}}),
        (APPSYNC, {"type": "start", "id": "1", "payload": {"data": json.dumps(operation)}}),
        (TRANSPORT_WS, {"type": "subscribe", "id": "1", "payload": operation}),
        (APOLLO_WS, {"type": "start", "id": "1", "payload": operation}),
    ]


def test_every_dialect_reads_it() -> None:
    for dialect, message in messages({"fanout": {"after": "abc"}}):
        assert start_of(json.dumps(message), dialect).extensions == Extensions(True, "abc")
    for extensions in (None, {}, {"other": 1}, {"fanout": None}):
        for dialect, message in messages(extensions):
            assert start_of(json.dumps(message), dialect).extensions == NONE


def test_a_mistake_is_that_subscription_s_in_every_dialect() -> None:
    for dialect, message in messages({"fanout": {"after": 1}}):
        assert isinstance(start_of(json.dumps(message), dialect).extensions, BadRequest)


def test_beside_the_document_stands_above_inside_it() -> None:
    data = json.dumps({"query": "q", "extensions": {"fanout": {"after": "inside"}}})
    payload = {"data": data, "extensions": {"fanout": {"after": "beside"}, "authorization": {"x-api-key": "k"}}}
    start = start_of(json.dumps({"type": "start", "id": "1", "payload": payload}), APPSYNC)
    assert start.extensions == Extensions(True, "beside")
    assert start.headers == {"x-api-key": "k"}


def test_another_position_is_another_request() -> None:
    def fingerprint(**payload: Any) -> int:
        message = {"type": "start", "id": "1", "payload": {"data": '{"query":"q"}', **payload}}
        return start_of(json.dumps(message), APPSYNC).fingerprint

    plain = fingerprint()
    asked = [fingerprint(extensions={"fanout": {"after": after}}) for after in ("a", "b", "a")]
    assert plain != asked[0] != asked[1]
    assert asked[0] == asked[2]
    assert plain == fingerprint(extensions={"authorization": {}})
