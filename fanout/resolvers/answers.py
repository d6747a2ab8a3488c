"""Answers what the library asks the host about: a question is `[kind, ...details]` as JSON. Knows no JavaScript.

Answers hang on the question alone, so that a call that is made again comes to the same end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from filters import FilterError, to_subscription_filter

_MAX_ZONES: Final = 256
_SPAN_SECONDS: Final = 16 * 31_556_952
_SPANS: Final = range(-122, 501)
"""Those that lie within the years that Python's datetime knows."""
# Of the whole IANA database no two changes are nearer than 3.9 days (Freetown).
_STEP_SECONDS: Final = 3 * 86400


def answer(question: list[Any]) -> dict[str, Any]:
    """Answer one question.

    Args:
        question: `["subscriptionFilter", filter, ignored fields or null, rules or null]`, or `["zone", name, span]`
            (a span is 16 years, counted from 1970).

    Returns:
        `{"value": ...}`, or `{"error": text, "type": errorType}` for the client of the resolver that asked.

    Raises:
        ValueError: no such kind; the library does not ask so.
    """
    match question:
        case ["subscriptionFilter", filter, ignored_fields, rules]:
            return _expand_filter(filter, ignored_fields, rules)
        case ["zone", str(name), int(span)] if span in _SPANS:
            return _describe_zone(name, span)
        case _:
            raise ValueError(f"unknown kind of question: {question[:1]}")


def _expand_filter(filter: object, ignored_fields: object, rules: object) -> dict[str, Any]:
    """`util.transform.toSubscriptionFilter`; limits other than that of combinations are checked where it is used."""
    if not isinstance(ignored_fields, list | None) or not all(isinstance(name, str) for name in ignored_fields or ()):
        return _refuse("filter: the ignored fields take a list of field names")
    if not isinstance(rules, Mapping | None):
        return _refuse("filter: the rules take an object of fields")
    try:
        expanded = to_subscription_filter(filter, ignored_fields or (), rules)
    except FilterError as error:
        return _refuse(error.message)
    return {"value": expanded} if _is_plain(expanded) else _refuse("filter: a string or number is beyond what JSON has")


def _is_plain(value: object) -> bool:
    """Whether JSON says just this: text can name half of a surrogate pair, and numbers without end."""
    try:
        return bool(orjson.loads(orjson.dumps(value)) == value)
    except orjson.JSONEncodeError:
        return False


@lru_cache(maxsize=_MAX_ZONES)
def _describe_zone(name: str, span: int) -> dict[str, Any]:
    """The offsets of a time zone within a span, for `util.time`: about 3 ms, which the call that asks has to have left.

    The value is `{"first": [offset, name in short], "transitions": [[from, offset, name in short], ...]}`, in seconds.
    """
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _refuse(f"{name[:100]!r} is no time zone; known are those of the IANA database, and offsets like +08:00")

    def find(seconds: int) -> list[Any]:
        moment = datetime.fromtimestamp(seconds, zone)
        return [int((moment.utcoffset() or timedelta()).total_seconds()), moment.tzname()]

    begin = span * _SPAN_SECONDS
    first = last = find(begin)
    transitions = []
    for step in range(begin, begin + _SPAN_SECONDS, _STEP_SECONDS):
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
