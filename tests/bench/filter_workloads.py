"""What the filter index is measured with: filters by number, and events that have to find some of them.

Everything follows from the number, so that a filter can be made again without keeping a million of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from filters import Filter, parse_filter

Condition = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """Filters and events for one question.

    Args:
        name: short, for tables and plots.
        what: what the filters are, in words.
        conditions: the conditions of filter number i of n.
        event: an event for n filters, made with the given source of randomness.
    """

    name: str
    what: str
    conditions: Callable[[int, int], list[Condition]]
    event: Callable[[Random, int], dict[str, Any]]

    def filter(self, number: int, count: int) -> Filter:
        return parse_filter({"filterGroup": [{"filters": self.conditions(number, count)}]})


def _is(field_name: str, operator: str, value: Any) -> Condition:
    return {"fieldName": field_name, "operator": operator, "value": value}


def _room_conditions(number: int, count: int) -> list[Condition]:
    conditions = [_is("roomId", "eq", f"room-{number}"), _is("author", "ne", f"author-{number}")]
    return conditions if number % 2 else [*conditions, _is("score", "ge", number)]


def _room_event(random: Random, count: int) -> dict[str, Any]:
    return {**_message(random, count), "score": count}


def _crowd_conditions(number: int, count: int) -> list[Condition]:
    """As many rooms as users, each pair once: a room or a user alone is shared by the square root of all."""
    side = round(count**0.5)
    return [_is("roomId", "eq", f"room-{number // side}"), _is("userId", "eq", f"user-{number % side}")]


def _crowd_event(random: Random, count: int) -> dict[str, Any]:
    side = round(count**0.5)
    return {
        **_message(random, count),
        "roomId": f"room-{random.randrange(side)}",
        "userId": f"user-{random.randrange(side)}",
    }


def _mixed_conditions(number: int, count: int) -> list[Condition]:
    """60 % `eq` and `in`, 15 % ranges, 10 % `beginsWith`, 10 % list `contains(Any)`, 5 % exclusions and substrings."""
    kind, turn = number % 20, number // 20
    spread = number * 7919 % count
    if kind < 6:
        return [_is("roomId", "eq", f"room-{number}"), _is("author", "ne", f"author-{number}")]
    if kind < 9:
        # Ten of these on each room.
        return [_is("roomId", "eq", f"room-{number // 200}"), _is("score", "ge", spread)]
    if kind < 12:
        return [_is("roomId", "in", [f"room-{number + step}" for step in range(3)]), _is("kind", "eq", "text")]
    if kind == 12:
        return [_is("score", "between", [spread, spread + 1 + turn % 30])]
    if kind == 13:
        return [_is("createdAt", "between", [_time(spread), _time(spread + 1 + turn % 30)])]
    if kind == 14:
        return [_is("price", "ge" if turn % 2 else "lt", spread + 0.5)]
    if kind < 17:
        return [_is("content", "beginsWith", f"order {spread}" + " the text of"[: turn % 12])]
    if kind == 17:
        return [_is("tags", "contains", f"tag-{number}")]
    if kind == 18:
        return [_is("tags", "containsAny", [f"tag-{number + step}" for step in range(4)])]
    excluded = turn % 999
    return [
        [_is("author", "ne", f"author-{excluded}")],
        [_is("author", "notIn", [f"author-{excluded}", "nobody"])],
        [_is("content", "contains", f"needle {excluded:03}")],
    ][excluded % 3]


def _mixed_event(random: Random, count: int) -> dict[str, Any]:
    return {**_message(random, count), "tags": [f"tag-{random.randrange(count)}" for _ in range(4)]}


def _message(random: Random, count: int) -> dict[str, Any]:
    return {
        "id": f"message-{random.randrange(10**9)}",
        "roomId": f"room-{random.randrange(count)}",
        "author": "ann",
        "kind": "text",
        "score": random.randrange(count),
        "price": random.random() * count,
        "createdAt": _time(random.randrange(count)),
        "content": f"order {random.randrange(count)} " + "the text of a message " * 5,
    }


def _time(number: int) -> str:
    return f"2026-11-21T{number // 3_600_000:02}:{number // 60_000 % 60:02}:{number % 60_000 / 1000:06.3f}Z"


ROOM = Workload("room", "`eq` on a room of its own and one or two other conditions", _room_conditions, _room_event)
CROWD = Workload("crowd", "`eq` on a room and `eq` on a user, 1,000 of each", _crowd_conditions, _crowd_event)
MIXED = Workload("mixed", "all operators: 60/15/10/10/5", _mixed_conditions, _mixed_event)
WORKLOADS = (ROOM, CROWD, MIXED)
