"""util.dynamodb: the guide's examples, and any JSON against an oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()

NESTED = {"foo": "bar", "baz": 1234, "beep": ["boop"]}
NESTED_VALUES = {"foo": {"S": "bar"}, "baz": {"N": 1234}, "beep": {"L": [{"S": "boop"}]}}
MIXED = ["foo", 123, {"bar": "baz"}]
MIXED_VALUES = [{"S": "foo"}, {"N": 123}, {"M": {"bar": {"S": "baz"}}}]


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        ("toDynamoDB", ["foo"], {"S": "foo"}),
        ("toDynamoDB", [12345], {"N": 12345}),
        ("toDynamoDB", [True], {"BOOL": True}),
        ("toDynamoDB", [MIXED], {"L": MIXED_VALUES}),
        ("toDynamoDB", [NESTED], {"M": NESTED_VALUES}),
        ("toDynamoDB", [None], {"NULL": None}),
        ("toString", ["foo"], {"S": "foo"}),
        ("toStringSet", [["foo", "bar", "baz"]], {"SS": ["foo", "bar", "baz"]}),
        ("toNumber", [12345], {"N": 12345}),
        ("toNumberSet", [[1, 23, 4.56]], {"NS": [1, 23, 4.56]}),
        ("toBinary", ["foo"], {"B": "foo"}),
        ("toBinarySet", [["foo", "bar", "baz"]], {"BS": ["foo", "bar", "baz"]}),
        ("toBoolean", [True], {"BOOL": True}),
        ("toNull", [], {"NULL": None}),
        ("toList", [MIXED], {"L": MIXED_VALUES}),
        ("toMap", [NESTED], {"M": NESTED_VALUES}),
        ("toMapValues", [NESTED], NESTED_VALUES),
        # The guide prints the text with spaces and slips of the pen; compact and valid is what AppSync makes.
        ("toS3Object", ["foo", "bar", "baz"], {"S": '{"s3":{"key":"foo","bucket":"bar","region":"baz"}}'}),
        (
            "toS3Object",
            ["foo", "bar", "baz", "beep"],
            {"S": '{"s3":{"key":"foo","bucket":"bar","region":"baz","version":"beep"}}'},
        ),
        (
            "fromS3ObjectJson",
            [{"S": '{ "s3" : { "key" : "foo", "bucket" : "bar", "region" : "baz", "version" : "beep" } }'}],
            {"key": "foo", "bucket": "bar", "region": "baz", "version": "beep"},
        ),
        (
            "fromS3ObjectJson",
            ['{"s3":{"key":"foo","bucket":"bar","region":"baz"}}'],
            {"key": "foo", "bucket": "bar", "region": "baz"},
        ),
    ],
)
def test_the_guides_examples(function: str, args: list[Any], value: Any) -> None:
    assert RUN.run(f"util.dynamodb.{function}(...args)", *args) == value


@pytest.mark.parametrize(
    "function",
    [
        *("toString", "toStringSet", "toNumber", "toNumberSet", "toBinary", "toBinarySet", "toBoolean"),
        *("toList", "toMap", "toMapValues", "fromS3ObjectJson"),
    ],
)
def test_null_becomes_null(function: str) -> None:
    assert RUN.run(f"[util.dynamodb.{function}(null), util.dynamodb.{function}()]") == [None, None]


def test_what_is_undefined_is_left_out_of_maps_and_null_in_lists() -> None:
    assert RUN.run("util.dynamodb.toMapValues({ a: undefined, b: [undefined] })") == {"b": {"L": [{"NULL": None}]}}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("toString(1)", "toString takes a string, not a number"),
        ("toStringSet('a')", "toStringSet takes a list of strings, not a string"),
        ("toNumber('1')", "toNumber takes a finite number, not a string"),
        ("toNumber(NaN)", "toNumber takes a finite number, not NaN"),
        ("toBoolean({})", "toBoolean takes a boolean, not an object"),
        ("toList({})", "toList takes a list, not an object"),
        ("toMap([])", "toMap takes an object, not a list"),
        ("toMapValues(true)", "toMapValues takes an object, not true"),
        ("toS3Object('a', 'b')", "toS3Object takes key, bucket and region as strings, not undefined"),
        ("fromS3ObjectJson(1)", "fromS3ObjectJson takes the text that toS3Object makes, not a number"),
    ],
)
def test_another_kind_is_refused(call: str, message: str) -> None:
    assert RUN.error(f"util.dynamodb.{call}") == f"TypeError: util.dynamodb.{message}"


@pytest.mark.parametrize("text", ["{", "null", "{}", '{"s3": 1}'])
def test_a_text_without_an_s3_object_is_refused(text: str) -> None:
    message = RUN.error("util.dynamodb.fromS3ObjectJson(args[0])", text)
    assert message.startswith("SyntaxError: util.dynamodb.fromS3ObjectJson: the text")


@pytest.mark.parametrize("value", ["Infinity", "{ a: () => 1 }", "[Symbol('x')]", "10n"])
def test_what_dynamodb_does_not_have_is_refused(value: str) -> None:
    assert RUN.error(f"util.dynamodb.toDynamoDB({value})").startswith("TypeError: util.dynamodb takes ")


def encode(value: Any) -> dict[str, Any]:
    """The oracle: what each kind of JSON is to DynamoDB, as the guide's table of types has it."""
    match value:
        case None:
            return {"NULL": None}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": value}
        case str():
            return {"S": value}
        case list():
            return {"L": [encode(item) for item in value]}
        case _:
            return {"M": {name: encode(item) for name, item in value.items()}}


NAMES = st.sampled_from(["a", "__proto__", "constructor", "toString", "L"]) | st.text(max_size=3)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=5)
    | st.sampled_from([0.5, -1.25, 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_any_json_has_its_dynamodb_form(value: Any) -> None:
    assert RUN.run("util.dynamodb.toDynamoDB(args[0])", value) == encode(value)
