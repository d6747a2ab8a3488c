"""AppSync's JSON for authorizer functions, as its guide shows it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth.lambda_messages import MAX_ANSWER_BYTES, Answer, BadAnswer, read_answer, write_request
from fanout.errors import BadRequest
from fanout.model import Call, CallKind, FieldPolicy

ARN = "arn:aws:appsync:us-east-1:111122223333:apis/{}/types/Message/fields/author"


def ask(call: Call) -> dict[str, Any]:
    return dict(orjson.loads(write_request(call, "tok", "request-1", "api-1", "111122223333")))


def read(answer: object, api_id: str = "") -> Answer:
    return read_answer(orjson.dumps(answer), api_id)


def test_an_operation_is_told() -> None:
    headers = {"authorization": "tok", "host": "h", "x-tenant": "red", "cookie": "a=b"}
    call = Call(CallKind.SUBSCRIBE, headers, query="subscription S { s }", operation_name="S", variables={"a": [1]})
    assert ask(call) == {
        "authorizationToken": "tok",
        "requestContext": {
            "apiId": "api-1",
            "accountId": "111122223333",
            "requestId": "request-1",
            "queryString": "subscription S { s }",
            "operationName": "S",
            "variables": {"a": [1]},
        },
        "requestHeaders": {"host": "h", "x-tenant": "red", "cookie": "a=b"},
    }


def test_variables_that_are_read_but_cannot_be_written_are_the_client_s_mistake() -> None:
    for depth in (300, 1023):
        call = Call(CallKind.HTTP, {}, query="{ a }", variables={"a": orjson.loads("[" * depth + "]" * depth)})
        with pytest.raises(BadRequest, match="The variables cannot be written as JSON: they are nested too deeply"):
            ask(call)


def test_a_connection_has_appsync_s_name_and_no_document() -> None:
    context = ask(Call(CallKind.CONNECT, {"authorization": "tok"}))["requestContext"]
    assert (context["operationName"], context["queryString"], context["variables"]) == ("DeepDish:Connect", "", {})


def test_an_operation_without_a_name_has_none() -> None:
    assert "operationName" not in ask(Call(CallKind.HTTP, {}, query="{ a }"))["requestContext"]


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-api-key",
        "x-amz-security-token",
        "proxy-authorization",
        "sec-websocket-protocol",
        "sec-websocket-key",
        "connection",
        "upgrade",
        "transfer-encoding",
    ],
)
def test_credentials_and_what_is_a_connection_s_own_are_withheld(name: str) -> None:
    assert ask(Call(CallKind.HTTP, {name: "secret", "accept": "x"}))["requestHeaders"] == {"accept": "x"}


def test_the_address_it_comes_from_is_the_last_of_those_it_was_forwarded_for() -> None:
    call = Call(CallKind.CONNECT, {"x-forwarded-for": "10.0.0.1"}, addresses=("10.0.0.1", "192.0.2.7"))
    assert ask(call)["requestHeaders"] == {"x-forwarded-for": "10.0.0.1, 192.0.2.7"}


def test_headers_of_any_bytes_can_be_told() -> None:
    assert ask(Call(CallKind.HTTP, {"a": b"\xff".decode("ascii", "surrogateescape")}))["requestHeaders"] == {"a": "?"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"isAuthorized": True}, Answer(True, {}, None, None)),
        ({"isAuthorized": False}, Answer(False, {}, None, None)),
        (
            {"isAuthorized": True, "resolverContext": None, "deniedFields": None, "ttlOverride": None, "other": {}},
            Answer(True, {}, None, None),
        ),
        (
            {"isAuthorized": True, "resolverContext": {"a": "b", "n": 1, "f": 1.5, "t": True, "z": None}},
            Answer(True, {"a": "b", "n": 1, "f": 1.5, "t": True, "z": None}, None, None),
        ),
        ({"isAuthorized": True, "deniedFields": []}, Answer(True, {}, None, None)),
        (
            {"isAuthorized": True, "deniedFields": ["Message.author", ARN.format("x"), "Mutation.*", "*"]},
            Answer(True, {}, FieldPolicy(deny=("Message.author", "Message.author", "Mutation.*", "*")), None),
        ),
        ({"isAuthorized": True, "ttlOverride": 0}, Answer(True, {}, None, 0)),
        ({"isAuthorized": True, "ttlOverride": 10}, Answer(True, {}, None, 10)),
        ({"isAuthorized": True, "ttlOverride": 10**9}, Answer(True, {}, None, 3600)),
    ],
)
def test_good_answers(answer: object, expected: Answer) -> None:
    assert read(answer) == expected


def test_arns_of_other_apis_mean_nothing_where_this_one_has_an_id() -> None:
    denied = [ARN.format("mine"), ARN.format("other").replace("author", "content")]
    assert read({"isAuthorized": True, "deniedFields": denied}, "mine").policy == FieldPolicy(deny=("Message.author",))
    assert read({"isAuthorized": True, "deniedFields": denied[1:]}, "mine").policy is None


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({}, "it has no isAuthorized"),
        ([], "it is a list in place of an object"),
        (None, "it is null"),
        (True, "it is true or false in place"),
        ({"isAuthorized": "true"}, "isAuthorized is a string"),
        ({"isAuthorized": 1}, "isAuthorized is a number"),
        ({"isAuthorized": None}, "it has no isAuthorized"),
        ({"isAuthorized": True, "resolverContext": "tok"}, "resolverContext is a string"),
        ({"isAuthorized": True, "resolverContext": {"a": "b", "tok": {}}}, "member 2 of resolverContext is an object"),
        ({"isAuthorized": True, "resolverContext": {"tok": []}}, "member 1 of resolverContext is a list"),
        ({"isAuthorized": True, "deniedFields": "tok"}, "deniedFields is a string"),
        ({"isAuthorized": True, "deniedFields": ["A.b", 1]}, "member 2 of deniedFields is a number"),
        ({"isAuthorized": True, "deniedFields": ["tok"]}, "member 1 of deniedFields is neither"),
        ({"isAuthorized": True, "deniedFields": ["A.b\n"]}, "member 1 of deniedFields is neither"),
        ({"isAuthorized": True, "deniedFields": ["A.b"] * 10_001}, "more than 10000"),
        ({"isAuthorized": True, "ttlOverride": -1}, "ttlOverride"),
        ({"isAuthorized": True, "ttlOverride": True}, "ttlOverride"),
        ({"isAuthorized": True, "ttlOverride": 1.5}, "ttlOverride"),
        ({"isAuthorized": True, "ttlOverride": "10"}, "ttlOverride"),
        ({"isAuthorized": False, "ttlOverride": "10"}, "ttlOverride"),
    ],
)
def test_bad_answers_are_named_without_what_they_hold(answer: object, text: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        read(answer)
    assert text in str(caught.value)
    assert "tok" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"{", b"tok", b'{"isAuthorized": true} tok', b"\xff", b"NaN", b"[" * 10_000])
def test_what_is_not_json_is_told(body: bytes) -> None:
    with pytest.raises(BadAnswer) as caught:
        read_answer(body, "")
    assert str(caught.value) == "it is not JSON"


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(BadAnswer, match="longer than"):
        read_answer(b" " * (MAX_ANSWER_BYTES + 1), "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
MEMBERS = st.sampled_from(["isAuthorized", "deniedFields", "resolverContext", "ttlOverride"])


@given(JSON | st.dictionaries(MEMBERS, JSON))
def test_only_an_explicit_true_lets_in(answer: Any) -> None:
    try:
        body = orjson.dumps(answer)
    except TypeError:  # lone surrogates
        return
    try:
        authorized = read_answer(body, "").is_authorized
    except BadAnswer:
        return
    assert authorized is answer["isAuthorized"]
