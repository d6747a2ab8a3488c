"""The operators: which operands each one takes, and when it holds. Knows nothing of filters as a whole.

A condition compares what an event has at a path (the *field*) with an *operand*. There are four kinds of scalars:
string, number, boolean, null. A number is never equal to a boolean, and 1 equals 1.0. A field that is missing counts
as null; so does one below a list or a scalar, or in an event that is not an object. Strings are compared by code
points, with regard to case.

| operator | operand | holds when the field is |
|---|---|---|
| `eq` | string, number, boolean | of the same kind and equal |
| `eq` | null | null or missing |
| `ne` | as `eq` | anything for which `eq` does not hold: also null, missing, of another kind, a list |
| `lt` `le` `gt` `ge` | string, number | of the same kind and in that order; never null, missing or of another kind |
| `between` | two strings, two numbers | of the same kind and from the first, the lower, to the second, both INCLUSIVE |
| `beginsWith` | string | a string that starts with it |
| `contains` | string | a string that it is part of, or a list that has an element equal to it |
| `contains` | number | a list that has an element equal to it |
| `notContains` | as `contains` | anything for which `contains` does not hold |
| `in` | strings and numbers | equal to one of them, in the sense of `eq` |
| `notIn` | as `in` | anything for which `in` does not hold |
| `containsAny` | strings and numbers | a list that has an element equal to one of them |

Names, operands and meanings are those of AppSync's guide (page "Extensions"). It leaves open whether `between`
includes its bounds, what null and missing fields mean, and what happens between kinds: that is decided here. `lte`
and `gte`, which its examples use, are read as `le` and `ge`.

HOT: the functions in `_TESTS` and `_LIST_TESTS` run once per candidate filter and event. Budget: 0.1 us each.
"""

from __future__ import annotations

import json
import operator as python_operator
from collections.abc import Callable, Mapping
from enum import Enum
from math import isfinite
from typing import Any, Literal

from filters.errors import FilterError, quote

Scalar = str | int | float | bool | None
Operand = Scalar | tuple[Scalar, ...]
Kind = Literal["string", "number", "boolean", "null"]
Test = Callable[[Any, Any], bool]


class Operator(str, Enum):
    """What a condition asks; the value is the name on the wire, which is case-sensitive."""

    EQ = "eq"
    NE = "ne"
    LE = "le"
    LT = "lt"
    GE = "ge"
    GT = "gt"
    CONTAINS = "contains"
    NOT_CONTAINS = "notContains"
    BEGINS_WITH = "beginsWith"
    IN = "in"
    NOT_IN = "notIn"
    BETWEEN = "between"
    CONTAINS_ANY = "containsAny"


_OPERATORS_BY_NAME = {operator.value: operator for operator in Operator} | {"lte": Operator.LE, "gte": Operator.GE}

_KINDS: Mapping[type, Kind] = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
_EQUALITY: tuple[Kind, ...] = ("string", "number", "boolean", "null")
_ORDERED: tuple[Kind, ...] = ("string", "number")

_OPERAND_KINDS: Mapping[Operator, tuple[Kind, ...]] = {
    Operator.EQ: _EQUALITY,
    Operator.NE: _EQUALITY,
    Operator.LE: _ORDERED,
    Operator.LT: _ORDERED,
    Operator.GE: _ORDERED,
    Operator.GT: _ORDERED,
    Operator.CONTAINS: _ORDERED,
    Operator.NOT_CONTAINS: _ORDERED,
    Operator.BEGINS_WITH: ("string",),
    Operator.IN: _ORDERED,
    Operator.NOT_IN: _ORDERED,
    Operator.BETWEEN: _ORDERED,
    Operator.CONTAINS_ANY: _ORDERED,
}
_TAKES_LIST = frozenset((Operator.IN, Operator.NOT_IN, Operator.BETWEEN, Operator.CONTAINS_ANY))
# Not containsAny: of a string field, `contains` asks something else.
_OPERATOR_FOR_ONE_VALUE = {Operator.IN: Operator.EQ, Operator.NOT_IN: Operator.NE, Operator.BETWEEN: Operator.EQ}

# Up to here scanning a tuple is about as fast as hashing, and a frozenset of five values takes 728 bytes, not 80.
_LARGEST_SCANNED_TUPLE = 8

_LONGEST_QUOTE = 60

_encode_string = json.JSONEncoder(ensure_ascii=False).encode


def parse_operator(name: object, field_name: str) -> Operator:
    """The operator of that name, `lte` and `gte` included.

    Raises:
        FilterError: no operator has this name; the text names the field.
    """
    operator = _OPERATORS_BY_NAME.get(name) if isinstance(name, str) else None
    if operator is None:
        known = ", ".join(operator.value for operator in Operator)
        raise FilterError(f"filter on '{field_name}': operator must be one of {known}, not {quote(name)}")
    return operator


def kind_of(value: object) -> Kind | None:
    """The kind of a JSON scalar, or None for a list, an object, or what JSON does not have."""
    return _KINDS.get(value.__class__)


def scalar_text(value: Scalar) -> str:
    """Canonical JSON text of a scalar: the texts are equal if and only if kind and value are."""
    if value.__class__ is str:
        return _encode_string(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    return repr(normalise_number(value))  # type: ignore[arg-type]  # only numbers are left


def normalise_number(value: float) -> float:
    """The one representation of equal numbers: whole ones are ints, whatever they were written as."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def normalise_operand(operator: Operator, operand: object, field_name: str) -> tuple[Operator, Operand]:
    """Check an operand and bring the condition into its canonical form, which means the same.

    Whole numbers become ints; lists are sorted and freed of duplicates; `in`, `notIn` and `between` with a single
    value become `eq`, `ne` and `eq`.

    Args:
        operator: the condition's operator.
        operand: a scalar, or a list or tuple of scalars where the operator takes several.
        field_name: for the text of errors.

    Raises:
        FilterError: an operand that the operator does not take.
    """
    if operator not in _TAKES_LIST:
        return operator, _normalise_scalar(operator, operand, field_name)
    if not isinstance(operand, (list, tuple)) or not operand:
        raise FilterError(
            f"filter on '{field_name}': operator `{operator.value}` takes a list of values, not "
            + ("an empty one" if isinstance(operand, (list, tuple)) else quote(operand))
        )
    values = [_normalise_scalar(operator, value, field_name) for value in operand]
    if operator is Operator.BETWEEN:
        if len(values) != 2 or kind_of(values[0]) != kind_of(values[1]):
            raise FilterError(f"filter on '{field_name}': operator `between` takes two numbers or two strings")
        if values[0] > values[1]:  # type: ignore[operator]  # both numbers or both strings
            raise FilterError(
                f"filter on '{field_name}': operator `between` takes the lower value first: "
                f"no value is between {_shorten(values[0])} and {_shorten(values[1])}"
            )
    elif len(values) > 1:
        by_text = {scalar_text(value): value for value in values}
        values = [by_text[text] for text in sorted(by_text)]
    if operator in _OPERATOR_FOR_ONE_VALUE and values[0] == values[-1]:
        return _OPERATOR_FOR_ONE_VALUE[operator], values[0]
    return operator, tuple(values)


def _shorten(value: Scalar) -> str:
    """A value in the text of an error."""
    text = scalar_text(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def _normalise_scalar(operator: Operator, value: Any, field_name: str) -> Scalar:
    kind = kind_of(value)
    if kind not in _OPERAND_KINDS[operator]:
        kinds = " or ".join(_OPERAND_KINDS[operator])
        what = f"values of kind {kinds}" if operator in _TAKES_LIST else f"a value of kind {kinds}"
        raise FilterError(f"filter on '{field_name}': operator `{operator.value}` takes {what}, not {quote(value)}")
    if kind == "string":
        check_text(value, field_name)
    elif kind == "number":
        value = normalise_number(value)
        # Larger ints have no counterpart among JSON numbers as other programs read them.
        if not (isfinite(value) if value.__class__ is float else value.bit_length() <= 1024):
            raise FilterError(f"filter on '{field_name}': a number that is out of range")
    return value  # type: ignore[no-any-return]


def check_text(text: str, field_name: str) -> None:
    """Refuse text that UTF-8 cannot carry: canonical texts and bucket tokens leave the process as UTF-8.

    Raises:
        FilterError: the text has a lone surrogate.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        where = field_name.encode(errors="replace").decode()
        raise FilterError(f"filter on '{where}': a string with an unpaired surrogate") from None


def read_path(event: Any, path: tuple[str, ...]) -> Any:
    """What parsed JSON has at a path; None when it is null, missing, or below something that is no object."""
    for name in path:
        if event.__class__ is not dict:
            return None
        event = event.get(name)
    return event


def select_test(operator: Operator, operand: Operand) -> tuple[Test, Any]:
    """How a condition in canonical form is evaluated.

    Returns:
        A function `test(field, prepared)` and what to give it as `prepared`.
    """
    if operator in _LIST_TESTS:
        values: Any = operand
        return _LIST_TESTS[operator], values if len(values) <= _LARGEST_SCANNED_TUPLE else frozenset(values)
    sample = operand[0] if isinstance(operand, tuple) else operand
    return _TESTS[operator, _KINDS[sample.__class__]], operand


def _is_number(field: Any) -> bool:
    return field.__class__ is int or field.__class__ is float


def _equals_number(field: Any, number: float) -> bool:
    return field == number and field.__class__ is not bool


def _contains_string(field: Any, text: str) -> bool:
    return (field.__class__ is str or field.__class__ is list) and text in field


def _contains_number(field: Any, number: float) -> bool:
    # `number in field` would take true for 1.
    return field.__class__ is list and any(_equals_number(element, number) for element in field)


def _is_in(field: Any, values: Any) -> bool:
    return (field.__class__ is str or field.__class__ is int or field.__class__ is float) and field in values


def _contains_any(field: Any, values: Any) -> bool:
    return field.__class__ is list and any(_is_in(element, values) for element in field)


_TESTS: Mapping[tuple[Operator, Kind], Test] = {
    (Operator.EQ, "string"): python_operator.eq,
    (Operator.EQ, "number"): _equals_number,
    (Operator.EQ, "boolean"): python_operator.is_,
    (Operator.EQ, "null"): python_operator.is_,
    (Operator.NE, "string"): python_operator.ne,
    (Operator.NE, "number"): lambda field, number: not _equals_number(field, number),
    (Operator.NE, "boolean"): python_operator.is_not,
    (Operator.NE, "null"): python_operator.is_not,
    (Operator.LT, "string"): lambda field, text: field.__class__ is str and field < text,
    (Operator.LE, "string"): lambda field, text: field.__class__ is str and field <= text,
    (Operator.GT, "string"): lambda field, text: field.__class__ is str and field > text,
    (Operator.GE, "string"): lambda field, text: field.__class__ is str and field >= text,
    (Operator.LT, "number"): lambda field, number: _is_number(field) and field < number,
    (Operator.LE, "number"): lambda field, number: _is_number(field) and field <= number,
    (Operator.GT, "number"): lambda field, number: _is_number(field) and field > number,
    (Operator.GE, "number"): lambda field, number: _is_number(field) and field >= number,
    (Operator.BETWEEN, "string"): lambda field, pair: field.__class__ is str and pair[0] <= field <= pair[1],
    (Operator.BETWEEN, "number"): lambda field, pair: _is_number(field) and pair[0] <= field <= pair[1],
    (Operator.BEGINS_WITH, "string"): lambda field, text: field.__class__ is str and field.startswith(text),
    (Operator.CONTAINS, "string"): _contains_string,
    (Operator.CONTAINS, "number"): _contains_number,
    (Operator.NOT_CONTAINS, "string"): lambda field, text: not _contains_string(field, text),
    (Operator.NOT_CONTAINS, "number"): lambda field, number: not _contains_number(field, number),
}
_LIST_TESTS: Mapping[Operator, Test] = {
    Operator.IN: _is_in,
    Operator.NOT_IN: lambda field, values: not _is_in(field, values),
    Operator.CONTAINS_ANY: _contains_any,
}
