from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import BadRequest
from fanout.protocol.conversation import BadMessage
from fanout.protocol.headers import decode_header_object, overlay_headers, read_headers, read_init_headers
from tests.fanout.protocol.strategies import json_values

# Its base64 has every character that clients write differently: "+", "/" and "=".
OBJECT = {"host": "localhost:8080", "x-api-key": "~~~???>>>", "x-amz-user-agent": "ÿÿþ"}
STANDARD = base64.b64encode(json.dumps(OBJECT, ensure_ascii=False).encode()).decode()


def test_the_example_is_worth_it() -> None:
    assert {"+", "/", "="} <= set(STANDARD)


@pytest.mark.parametrize(
    "encoded",
    [
        STANDARD,
        STANDARD.rstrip("="),
        STANDARD.replace("+", "-").replace("/", "_"),
        STANDARD.replace("+", "-").replace("/", "_").rstrip("="),
        STANDARD.replace("+", " "),
        STANDARD + "\n",
        "\r\n".join(STANDARD[at : at + 76] for at in range(0, len(STANDARD), 76)),
        f" {STANDARD} ",
    ],
    ids=["standard", "unpadded", "url", "url-unpadded", "spaces", "newline", "lines", "surrounded"],
)
def test_header_object_is_decoded_in_every_form(encoded: str) -> None:
    assert decode_header_object(encoded) == OBJECT


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=4))
def test_any_object_comes_back_with_its_strings(value: dict[str, object]) -> None:
    encoded = base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
    assert decode_header_object(encoded) == read_headers(value)


@pytest.mark.parametrize(
    "encoded", ["", "=", "x", "%%%", "ä", "\ud800", "bm90IGpzb24", "WzFd", "bnVsbA", "IngiCg", "/w"]
)
def test_what_is_no_header_object_is_a_bad_request(encoded: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_header_object(encoded)
    assert caught.value.errors[0]["errorCode"] == 400


def test_names_are_lower_case_and_values_strings() -> None:
    assert read_headers({"Authorization": "a", "X-Amz-Date": "d", "n": 1, "o": {}, "z": None}) == {
        "authorization": "a",
        "x-amz-date": "d",
    }


def test_upper_headers_win() -> None:
    assert overlay_headers({"host": "a", "origin": "o"}, {"host": "b"}) == {"host": "b", "origin": "o"}


@pytest.mark.parametrize("credential", ["authorization", "x-api-key"])
def test_a_credential_takes_the_others_out(credential: str) -> None:
    lower = {"host": "h", "x-api-key": "old", "authorization": "old"}
    assert overlay_headers(lower, {credential: "new"}) == {"host": "h", credential: "new"}


def test_credentials_stay_where_none_are_given() -> None:
    assert overlay_headers({"x-api-key": "k"}, {"x-amz-date": "d"}) == {"x-api-key": "k", "x-amz-date": "d"}


def test_overlay_changes_neither_argument() -> None:
    lower, upper = {"x-api-key": "a"}, {"authorization": "b"}
    overlay_headers(lower, upper)
    assert (lower, upper) == ({"x-api-key": "a"}, {"authorization": "b"})
    assert overlay_headers(lower, {}) == lower
    assert overlay_headers({}, upper) == upper


def test_credentials_of_an_init_under_headers_win() -> None:
    payload = {"x-api-key": "top", "token": "t", "headers": {"X-Api-Key": "nested", "n": 1}, "o": {"x": "y"}}
    assert read_init_headers(payload) == {"x-api-key": "nested", "token": "t"}
    assert read_init_headers({"headers": "text"}) == {"headers": "text"}
    assert read_init_headers(None) == {}


def encode(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def nest(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("within", "beyond", "text"),
    [
        ({"a": "x" * 12_000}, {"a": "x" * 12_300}, "16384 characters"),
        (dict.fromkeys(map(str, range(100)), ""), dict.fromkeys(map(str, range(101)), ""), "100 members"),
        ({"a": nest(7), "b": {"c": {}}}, {"b": 1, "a": nest(8)}, "8 levels"),
    ],
)
def test_a_header_object_is_bounded(within: dict[str, Any], beyond: dict[str, Any], text: str) -> None:
    kept = {name: value for name, value in within.items() if isinstance(value, str)}
    assert decode_header_object(encode(within)) == kept
    with pytest.raises(BadRequest, match=text):
        decode_header_object(encode(beyond))


def test_what_is_nested_thousands_of_levels_deep_is_no_trouble() -> None:
    for levels in (900, 5000):
        with pytest.raises(BadRequest):
            decode_header_object(base64.b64encode(b'{"a":' + b"[" * levels + b"]" * levels + b"}").decode())


def test_the_headers_of_an_init_are_bounded() -> None:
    assert len(read_init_headers({"a": "x" * 16_383})) == 1
    for beyond in ({"a": "x" * 16_384}, dict.fromkeys(map(str, range(101)), "x")):
        for payload in (beyond, {"headers": beyond}):
            with pytest.raises(BadMessage, match="'connection_init'"):
                read_init_headers(payload)


def test_where_a_client_is_it_may_not_say_itself() -> None:
    lie = {"X-Forwarded-For": "192.0.2.1", "host": "h"}
    assert read_init_headers({**lie, "headers": lie}) == {"host": "h"}
    assert decode_header_object(encode(lie)) == {"host": "h"}


def test_a_credential_that_is_given_twice_in_an_object_is_none_of_both() -> None:
    assert read_headers({"X-Api-Key": "one", "x-api-key": "two", "Host": "a", "host": "b"}) == {
        "x-api-key": "one, two",
        "host": "b",
    }
