"""Answers what the library asks the host about: a question is `[kind, ...details]` as JSON. Knows no JavaScript.

Answers hang on the question alone, so that a call that is made again comes to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filters import FilterError, to_subscription_filter


def answer(question: list[Any]) -> dict[str, Any]:
    """Answer one question.

    Args:
        question: `["subscriptionFilter", filter, ignored fields or null, rules or null]`.

    Returns:
        `{"value": ...}`, or `{"error": text, "type": errorType}` for the client of the resolver that asked.

    Raises:
        ValueError: no such kind; the library does not ask so.
    """
    match question:
        case ["subscriptionFilter", filter, ignored_fields, rules]:
            return _expand_filter(filter, ignored_fields, rules)
        case _:
            raise ValueError(f"unknown kind of question: {question[:1]}")


def _expand_filter(filter: object, ignored_fields: object, rules: object) -> dict[str, Any]:
    """`util.transform.toSubscriptionFilter`; limits other than that of combinations are checked where it is used."""
    if not isinstance(ignored_fields, list | None) or not all(isinstance(name, str) for name in ignored_fields or ()):
        return _refuse("filter: the ignored fields take a list of field names")
    if not isinstance(rules, Mapping | None):
        return _refuse("filter: the rules take an object of fields")
    try:
        return {"value": to_subscription_filter(filter, ignored_fields or (), rules)}
    except FilterError as error:
        return _refuse(error.message)


def _refuse(message: str) -> dict[str, Any]:
    return {"error": message, "type": "BadRequest"}
