"""The filter language once more, as plainly as it can be written: the judge of all property tests.

Works on what is on the wire (dicts and lists), imports nothing of `filters`, and shares no idea with it but the
table of meanings in `filters/operators.py`.
"""

from __future__ import annotations

import operator as python_operator
from collections.abc import Collection, Mapping
from typing import Any

Json = Any

_COMPARE = {
    "lt": python_operator.lt,
    "le": python_operator.le,
    "lte": python_operator.le,
    "gt": python_operator.gt,
    "ge": python_operator.ge,
    "gte": python_operator.ge,
}


def kind(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def equal(left: Json, right: Json) -> bool:
    return kind(left) == kind(right) and kind(left) not in ("list", "object") and bool(left == right)


def field_of(event: Json, field_name: str) -> Json:
    value = event
    for name in field_name.split("."):
        value = value.get(name) if kind(value) == "object" else None
    return value


def holds(event: Json, field_name: str, operator: str, operand: Json) -> bool:
    """Whether one condition holds."""
    field = field_of(event, field_name)
    match operator:
        case "eq":
            return equal(field, operand)
        case "in":
            return any(equal(field, value) for value in operand)
        case "contains" if kind(field) == "list":
            return any(equal(element, operand) for element in field)
        case "contains":
            return kind(field) == kind(operand) == "string" and operand in field
        case "containsAny":
            return kind(field) == "list" and any(equal(element, value) for element in field for value in operand)
        case "beginsWith":
            return kind(field) == "string" and field[: len(operand)] == operand
        case "between":
            return holds(event, field_name, "ge", operand[0]) and holds(event, field_name, "le", operand[1])
        case "ne":
            return not holds(event, field_name, "eq", operand)
        case "notIn":
            return not holds(event, field_name, "in", operand)
        case "notContains":
            return not holds(event, field_name, "contains", operand)
    return kind(field) == kind(operand) and bool(_COMPARE[operator](field, operand))


def matches(filter_group: Mapping[str, Json], event: Json) -> bool:
    """Whether an event matches a filter in the `filterGroup` form."""
    return any(
        all(holds(event, entry["fieldName"], entry["operator"], entry["value"]) for entry in group["filters"])
        for group in filter_group["filterGroup"]
    )


def satisfies(nested: Json, event: Json, ignored_fields: Collection[str] = ()) -> bool | None:
    """Whether an event satisfies a filter in the nested form (and / or / field); None if that asks for nothing."""
    answers = []
    for name, value in (nested or {}).items():
        if value is None or name in ignored_fields:
            continue
        if name in ("and", "or"):
            parts = [satisfies(part, event, ignored_fields) for part in value]
            said = [part for part in parts if part is not None]
            answers.append(None if not said else all(said) if name == "and" else any(said))
        elif value:
            answers.append(any(holds(event, name, operator, operand) for operator, operand in value.items()))
    said = [answer for answer in answers if answer is not None]
    return all(said) if said else None
