"""Answers what the library asks the host about: a question is `[kind, ...details]` as JSON. Knows no JavaScript.

Answers hang on the question alone, so that a call that is made again comes to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from filters import FilterError, to_subscription_filter

_MAX_ZONES: Final = 64
_FIRST: Final = int(datetime(1900, 1, 1, tzinfo=UTC).timestamp())
_LAST: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
# Of the whole IANA database, no two changes since 1900 that undo each other are nearer than 3.9 days.
_STEP_SECONDS: Final = 3 * 86400


def answer(question: list[Any]) -> dict[str, Any]:
    """Answer one question.

    Args:
        question: `["subscriptionFilter", filter, ignored fields or null, rules or null]`, or `["zone", name]`.

    Returns:
        `{"value": ...}`, or `{"error": text, "type": errorType}` for the client of the resolver that asked.

    Raises:
        ValueError: no such kind; the library does not ask so.
    """
    match question:
        case ["subscriptionFilter", filter, ignored_fields, rules]:
            return _expand_filter(filter, ignored_fields, rules)
        case ["zone", str(name)]:
            return _describe_zone(name)
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


@lru_cache(maxsize=_MAX_ZONES)
def _describe_zone(name: str) -> dict[str, Any]:
    """The offsets of a time zone, for `util.time`: some 20 ms the first time.

    The value is `{"first": [offset, name in short], "transitions": [[from, offset, name in short], ...]}`, in seconds,
    for 1900 to 2100.
    """
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _refuse(f"{name[:100]!r} is no time zone; known are those of the IANA database, and offsets like +08:00")

    def find(seconds: int) -> list[Any]:
        moment = datetime.fromtimestamp(seconds, zone)
        return [int((moment.utcoffset() or timedelta()).total_seconds()), moment.tzname()]

    first = last = find(_FIRST)
    transitions = []
    for step in range(_FIRST, _LAST, _STEP_SECONDS):
        end = step + _STEP_SECONDS
        if (found := find(end)) == last:
            continue
        start = step
        while end - start > 1:
            middle = (start + end) // 2
            start, end = (middle, end) if find(middle) == last else (start, middle)
        last = found
        transitions.append([end, *found])
    return {"value": {"first": first, "transitions": transitions}}


def _refuse(message: str) -> dict[str, Any]:
    return {"error": message, "type": "BadRequest"}
