"""The texts that clients look for, and descriptions of values that are safe for any value."""

from __future__ import annotations

from hypothesis import given

from filters.errors import FilterError, quote, quote_shape
from tests.filters import strategies

# What DataStore looks for in an error before it subscribes again without a filter (reference: amplify-js).
DATASTORE_LOOKS_FOR = (
    "Filters exceed maximum attributes limit",
    "Filters combination exceed maximum limit",
    "filter uses same fieldName multiple time",
    "The variables input contains a field name 'not'",
)


def test_texts_that_datastore_falls_back_on() -> None:
    texts = [
        FilterError.too_many_attributes(5).message,
        FilterError.too_many_combinations(10).message,
        FilterError.repeated_field().message,
        FilterError.negated_group().message,
    ]
    for looked_for, text in zip(DATASTORE_LOOKS_FOR, texts, strict=True):
        assert looked_for in text


def test_text_and_code_of_too_many_values() -> None:
    error = FilterError.too_many_values("in", 5)
    assert error.message == "subscription exceeds maximum value limit 5 for operator `in`."
    assert error.error_code == 400


def test_an_error_is_a_value_error_with_its_message_as_text() -> None:
    error = FilterError("no good")
    assert isinstance(error, ValueError)
    assert str(error) == error.message == "no good"
    assert error.error_code is None


def test_quote_names_each_kind_of_value() -> None:
    values: list[object] = [None, True, False, 1, 2.5, "x", [], (), {}, b""]
    assert [quote(value) for value in values] == [
        *("null", "true", "false", "a number", "a number", "'x'", "a list", "a list", "an object", "a bytes")
    ]


@given(strategies.garbage)
@strategies.brief
def test_quote_is_short_and_can_be_sent(value: object) -> None:
    assert len(quote(value).encode()) < 700


def test_quote_of_what_python_itself_cannot_print() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert quote(deep) == "a list"
    assert quote(10**10_000) == "a number"
    assert quote("x" * 1000) == f"'{'x' * 60}'..."


def test_an_object_of_another_shape_is_told_by_its_names() -> None:
    assert quote_shape({"roomId": {"eq": "a"}}) == "one of 'roomId'"
    assert quote_shape(dict.fromkeys("abcd", 1)) == "one of 'a', 'b', 'c', ..."
    assert quote_shape({}) == "an empty one"
    assert quote_shape([]) == quote([]) == "a list"


@given(strategies.garbage)
@strategies.brief
def test_shapes_of_any_value_are_told(value: object) -> None:
    assert quote_shape(value).encode()
