"""util.http: cases and rules of AppSync's developer guide, "HTTP helpers in util.http"."""

from __future__ import annotations

import pytest

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()


def test_headers_are_copied_without_those_of_the_connection() -> None:
    headers = {
        "Host": "a",
        "x-api-key": "k",
        "transfer-encoding": "chunked",
        "TE": "b",
        "Accept": "c",
        "__proto__": "d",
    }
    copied = RUN.run("util.http.copyHeaders(args[0])", headers)
    assert copied == {"x-api-key": "k", "Accept": "c", "__proto__": "d"}
    assert RUN.run("util.http.copyHeaders(null)") == {}


def test_headers_of_the_response_are_handed_out() -> None:
    envelope = RUN.envelope(
        'util.http.addResponseHeader("itemsCount", 7), util.http.addResponseHeader("render", args[0]), '
        "util.http.addResponseHeaders({ headerInt: 12, headerObject: { field1: 7, field2: 'string' } })",
        "now",
    )
    assert envelope["extensions"]["responseHeaders"] == {
        "itemsCount": "7",
        "render": "now",
        "headerInt": "12",
        "headerObject": '{"field1":7,"field2":"string"}',
    }
    assert envelope["errors"] == []


def test_the_last_of_one_name_stands() -> None:
    envelope = RUN.envelope('util.http.addResponseHeader("A-b", 1), util.http.addResponseHeader("a-B", 2)')
    assert envelope["extensions"]["responseHeaders"] == {"a-B": "2"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ('"", 1', "is not the name of a header"),
        ("null, 1", "is not the name of a header"),
        ('"a b", 1', "is not the name of a header"),
        ('"a\\r\\nb", 1', "is not the name of a header"),
        ('"x-amz-a", 1', "is restricted"),
        ('"X-Amzn-Trace", 1', "is restricted"),
        ('"Content-Type", 1', "is restricted"),
        ('"access-control-allow-origin", "*"', "is restricted"),
        ('"Content-Length", 1', "is restricted"),
        ('"a", null', "has no value"),
        ('"a"', "has no value"),
        ('"a", "b\\r\\nSet-Cookie: c"', "has a value with other characters than printable ASCII"),
        ('"a", "é"', "has a value with other characters than printable ASCII"),
        ('"a", "b".repeat(4096)', "is left out: headers of the response hold at most 4096 bytes"),
    ],
)
def test_a_wrong_header_is_left_out_and_said(arguments: str, reason: str) -> None:
    envelope = RUN.envelope(f"(util.http.addResponseHeader({arguments}), 'goes on')")
    assert (envelope["value"], envelope["extensions"]) == ("goes on", {})
    [error] = envelope["errors"]
    assert error["type"] == "ResponseHeaderError"
    assert reason in error["message"]


def test_all_that_is_added_counts_as_size() -> None:
    envelope = RUN.envelope('[1, 2, 3].forEach((at) => util.http.addResponseHeader("a", "b".repeat(2000) + at))')
    assert len(envelope["errors"]) == 1
    assert envelope["extensions"]["responseHeaders"]["a"].endswith("2")


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString"])
def test_a_response_header_has_any_name(name: str) -> None:
    envelope = RUN.envelope("util.http.addResponseHeader(args[0], 'x')", name)
    assert envelope["extensions"] == {"responseHeaders": {name: "x"}}
