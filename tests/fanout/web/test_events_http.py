"""`POST /events`: all or none, exact data, and an answer that names what is wrong with which item."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import BadRequest, LimitExceeded
from fanout.model import NewEvent
from fanout.schema import ApiSchema
from fanout.settings import MutationSettings, Settings
from fanout.web.body import HttpLimits
from fanout.web.events_http import FIELDS, MAX_FAULTS_TOLD, parse_events
from tests.fanout.web.conftest import AWAY, CLIENT_KEY, RememberingBus

SETTINGS = Settings(stream=("fanout:events", "orders"), mutations={"deleteMessage": MutationSettings(stream="orders")})
EVENT = {"mutation": "createMessage", "data": {"id": "m1", "text": "hi"}}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=12,
)


async def _errors(publisher: httpx.AsyncClient, body: object, status: int = 422) -> list[dict[str, Any]]:
    response = await publisher.post("/events", content=orjson.dumps(body))
    assert response.status_code == status, response.text
    assert response.headers["x-amzn-errortype"] == response.json()["errors"][0]["errorType"]
    errors = response.json()["errors"]
    assert isinstance(errors, list)
    return errors


async def test_one_event(publisher: httpx.AsyncClient, bus: RememberingBus) -> None:
    response = await publisher.post("/events", json=EVENT)
    assert (response.status_code, response.json()) == (202, {"ids": ["1700000000000-0"]})
    assert bus.calls == [[NewEvent("createMessage", b'{"id":"m1","text":"hi"}')]]


async def test_a_list_goes_out_in_one_call_and_in_order(publisher: httpx.AsyncClient, bus: RememberingBus) -> None:
    at = 1_700_000_000_123
    body = [{**EVENT, "id": "k1"}, {**EVENT, "at": at}, {"mutation": "setVolume", "data": 0.5, "id": None, "at": None}]
    response = await publisher.post("/events", json=body)
    assert response.json() == {"ids": ["1700000000000-0", "1700000000000-1", "1700000000000-2"]}
    data = b'{"id":"m1","text":"hi"}'
    assert bus.calls == [
        [
            NewEvent("createMessage", data, key="k1"),
            NewEvent("createMessage", data, at_ms=at),
            NewEvent("setVolume", b"0.5"),
        ]
    ]


@given(JSON)
def test_data_arrives_as_it_was_sent(schema: ApiSchema, value: Any) -> None:
    body = orjson.loads(orjson.dumps({"mutation": "createMessage", "data": {"value": value}}))
    [event] = parse_events(body, schema, 1, SETTINGS)
    # Representations, since 1 == 1.0 == True.
    assert repr(orjson.loads(event.data)) == repr({"value": value})


@pytest.mark.parametrize(
    "data",
    [
        b'{"n":1.0,"m":1,"z":-0.0,"big":18446744073709551615,"e":1e300}',
        '{"text":"\u2028\u00e9\U0001f600\\u0000"}'.encode(),
        b'{"huge":123456789012345678901234567890}',
    ],
)
async def test_numbers_and_text_keep_their_meaning(
    publisher: httpx.AsyncClient, bus: RememberingBus, data: bytes
) -> None:
    response = await publisher.post("/events", content=b'{"mutation":"createMessage","data":' + data + b"}")
    assert response.status_code == 202
    # What a subscriber's gateway reads is what it would read had `data` been appended as it is by XADD.
    assert repr(orjson.loads(bus.events[0].data)) == repr(orjson.loads(data))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (1, 'a number is not an event: send {"mutation": ..., "data": ...}'),
        (None, 'null is not an event: send {"mutation": ..., "data": ...}'),
        ([], 'a list is not an event: send {"mutation": ..., "data": ...}'),
        ("x", 'a string is not an event: send {"mutation": ..., "data": ...}'),
        (
            {**EVENT, "dta": 1},
            "unknown field 'dta', did you mean 'data'?; the fields are mutation, data, id, at, stream",
        ),
        ({**EVENT, "zzz": 1}, "unknown field 'zzz'; the fields are mutation, data, id, at, stream"),
        ({"data": {}}, '"mutation" is missing: name the mutation field of the schema that the data is the result of'),
        ({**EVENT, "mutation": None}, '"mutation" is null: give the name of a mutation field as a string'),
        (
            {**EVENT, "mutation": "createMesage"},
            "unknown mutation 'createMesage', did you mean 'createMessage'?; use a mutation field of the schema",
        ),
        (
            {**EVENT, "mutation": "zzz"},
            "unknown mutation 'zzz', the schema has createMessage, deleteMessage, importMessages, setVolume; "
            "use a mutation field of the schema",
        ),
        (
            {**EVENT, "mutation": "onCreateMessage"},
            "unknown mutation 'onCreateMessage', did you mean 'createMessage'?; use a mutation field of the schema",
        ),
        ({"mutation": "createMessage"}, '"data" is missing: give the result of the mutation'),
        (
            {**EVENT, "data": None},
            '"data" is null: publish only results, a mutation without one has no event',
        ),
        (
            {**EVENT, "data": '{"id":"m1"}'},
            '"data" is a string: this mutation\'s result is an object (Message); '
            "send the object itself, not its JSON text",
        ),
        ({**EVENT, "data": [1]}, '"data" is a list: this mutation\'s result is an object (Message)'),
        (
            {"mutation": "deleteMessage", "data": True},
            '"data" is a boolean: this mutation\'s result is an object (Message!)',
        ),
        (
            {"mutation": "importMessages", "data": {}},
            '"data" is an object: this mutation\'s result is a list ([Message!]!)',
        ),
        ({**EVENT, "id": ""}, '"id" has to be a string of 1 to 256 characters, or left out'),
        ({**EVENT, "id": "x" * 257}, '"id" has to be a string of 1 to 256 characters, or left out'),
        ({**EVENT, "id": 7}, '"id" has to be a string of 1 to 256 characters, or left out'),
        ({**EVENT, "at": "now"}, '"at" has to be the time of the event in milliseconds since 1970, or left out'),
        ({**EVENT, "at": True}, '"at" has to be the time of the event in milliseconds since 1970, or left out'),
        ({**EVENT, "at": 1.5e12}, '"at" has to be the time of the event in milliseconds since 1970, or left out'),
        (
            {**EVENT, "at": 1_700_000_000},
            '"at" has to be the time of the event in milliseconds since 1970, or left out',
        ),
        ({**EVENT, "at": 10**18}, '"at" has to be the time of the event in milliseconds since 1970, or left out'),
    ],
)
async def test_a_bad_item_is_named_and_nothing_published(
    publisher: httpx.AsyncClient, bus: RememberingBus, item: object, message: str
) -> None:
    [error] = await _errors(publisher, [EVENT, EVENT, item, EVENT])
    assert error == {"errorType": "BadRequestException", "message": f"events[2]: {message}", "index": 2}
    if isinstance(item, dict):
        [alone] = await _errors(publisher, item)
        assert alone["message"] == message
    assert bus.calls == []


async def test_every_bad_item_is_named_up_to_a_bound(publisher: httpx.AsyncClient) -> None:
    errors = await _errors(publisher, [EVENT, {}, EVENT, 3])
    assert [error["index"] for error in errors] == [1, 3]
    assert len(await _errors(publisher, [{}] * 500)) == MAX_FAULTS_TOLD


async def test_what_a_client_sent_is_quoted_short_and_harmless(publisher: httpx.AsyncClient) -> None:
    [error] = await _errors(publisher, {**EVENT, "mutation": "\x1b[31m" + "x" * 100_000})
    assert "\x1b" not in error["message"]
    assert len(error["message"]) < 250


async def test_data_that_is_nested_too_deeply(publisher: httpx.AsyncClient, bus: RememberingBus) -> None:
    def nested(levels: int) -> bytes:
        data = b'{"a":' * levels + b"1" + b"}" * levels
        return b'[{"mutation":"createMessage","data":' + data + b"}]"

    assert (await publisher.post("/events", content=nested(254))).status_code == 202
    response = await publisher.post("/events", content=nested(255))
    assert response.status_code == 422
    assert response.json()["errors"][0]["message"] == 'events[0]: "data" is nested too deeply: 254 levels is the limit'
    assert (await publisher.post("/events", content=nested(5000))).status_code == 400
    assert len(bus.calls) == 1


@pytest.mark.parametrize("body", ["x", 1, None, True])
async def test_a_body_that_is_no_event(publisher: httpx.AsyncClient, body: object) -> None:
    [error] = await _errors(publisher, body, 400)
    assert error["message"].startswith("the body is neither an event nor a list: send")


async def test_an_empty_list(publisher: httpx.AsyncClient) -> None:
    [error] = await _errors(publisher, [])
    assert error["message"] == "the list is empty: send at least one event"


async def test_too_many_events(publisher: httpx.AsyncClient, bus: RememberingBus) -> None:
    limit = HttpLimits().events_per_request
    [error] = await _errors(publisher, [EVENT] * (limit + 1), 413)
    assert error["message"] == "the list has 1001 events, the limit is 1000: send it in parts"
    assert (await publisher.post("/events", json=[EVENT] * limit)).status_code == 202
    assert len(bus.events) == limit


async def test_too_many_bytes(publisher: httpx.AsyncClient, bus: RememberingBus) -> None:
    event = {**EVENT, "data": {"text": "x" * HttpLimits().events_body_bytes}}
    [error] = await _errors(publisher, event, 413)
    assert error["message"].startswith("the request body exceeds the limit of 4194304 bytes")
    assert bus.calls == []


async def test_a_malformed_body(publisher: httpx.AsyncClient) -> None:
    response = await publisher.post("/events", content=b'{"mutation":')
    assert response.status_code == 400
    assert response.json()["errors"][0]["message"].startswith("the request body is not valid JSON")


@pytest.mark.parametrize("key", [None, "", "wrong", CLIENT_KEY])
async def test_only_publisher_keys(http: httpx.AsyncClient, bus: RememberingBus, key: str | None) -> None:
    headers = {} if key is None else {"x-api-key": key}
    # Refused before the body is looked at.
    response = await http.post("/events", content=b"not json", headers=headers)
    assert response.status_code == 401
    assert response.headers["x-amzn-errortype"] == "UnauthorizedException"
    assert response.json()["errors"][0]["errorType"] == "UnauthorizedException"
    assert not key or key not in response.text
    assert bus.calls == []


async def test_the_bus_is_away(publisher: httpx.AsyncClient, bus: RememberingBus) -> None:
    bus.failure = AWAY
    response = await publisher.post("/events", json=EVENT)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "secret" not in response.text
    bus.failure = None
    assert (await publisher.post("/events", json=EVENT)).status_code == 202


@given(st.lists(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)), max_size=4) | JSON)
def test_any_json_gives_events_or_a_client_fault(schema: ApiSchema, body: Any) -> None:
    try:
        events = parse_events(body, schema, 3, SETTINGS)
    except (BadRequest, LimitExceeded):
        return
    assert len(events) == (len(body) if isinstance(body, list) else 1)


def test_the_stream_can_be_chosen_and_has_to_be_there(schema: ApiSchema) -> None:
    [chosen, default] = parse_events([{**EVENT, "stream": "orders"}, EVENT | {"stream": "orders"}], schema, 2, SETTINGS)
    assert (chosen.stream, default.stream) == ("orders", "orders")
    assert parse_events(EVENT, schema, 1, SETTINGS)[0].stream == ""
    for value, expected in (
        ("order", "unknown stream 'order', did you mean 'orders'?; the streams are fanout:events, orders"),
        (5, '"stream" is a number: give the name of an event stream as a string, or leave it out'),
    ):
        with pytest.raises(BadRequest) as caught:
            parse_events({**EVENT, "stream": value}, schema, 1, SETTINGS)
        assert caught.value.message == expected


def test_a_list_goes_to_one_stream(schema: ApiSchema) -> None:
    """It could not be published all or none otherwise; a mutation's own stream counts too."""
    own = {"mutation": "deleteMessage", "data": {"id": "m1"}}
    assert len(parse_events([own, {**EVENT, "stream": "orders"}], schema, 2, SETTINGS)) == 2
    with pytest.raises(BadRequest) as caught:
        parse_events([EVENT, own], schema, 2, SETTINGS)
    assert caught.value.message == (
        "events[1]: goes to the stream 'orders', and the first event to 'fanout:events': "
        "send events of different streams in requests of their own"
    )
