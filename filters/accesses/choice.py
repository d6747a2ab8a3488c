"""Which accesses the conditions of an AND-group offer, the probably most selective first. Knows nothing of nodes.

| rank | conditions | hangs at |
|---|---|---|
| 0 | `eq`, `in` | each value |
| 1 | `contains`, `containsAny`, `beginsWith` | each element, the needle; the prefix |
| 2 | `between`, or a lower and an upper bound | the interval |
| 3 | `eq` null | the path: invented ones hold for every event, so this comes late |
| 4 | `lt`, `le`, `gt`, `ge` | the bound |
| none | `ne`, `notIn`, `notContains` | what they exclude is rare, so looking it up would save nothing |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple

from filters.accesses.equality import value_key
from filters.buckets import guess_selectivity
from filters.model import Condition, Path
from filters.operators import Operator, kind_of


class Store(Enum):
    """The stores that a node can have for a path; ranges have one for each kind, as kinds do not compare."""

    VALUES = "values"
    ABSENCES = "absences"
    ELEMENTS = "elements"
    NEEDLES = "needles"
    PREFIXES = "prefixes"
    NUMBERS_LT = "numbers lt"
    NUMBERS_LE = "numbers le"
    NUMBERS_GT = "numbers gt"
    NUMBERS_GE = "numbers ge"
    NUMBER_INTERVALS = "number intervals"
    STRINGS_LT = "strings lt"
    STRINGS_LE = "strings le"
    STRINGS_GT = "strings gt"
    STRINGS_GE = "strings ge"
    STRING_INTERVALS = "string intervals"


class Spot(NamedTuple):
    """A key in one store of one path; for `Store.ABSENCES` the key is the path."""

    store: Store
    key: Any


class Access(NamedTuple):
    """One way to find an AND-group by what an event has at one path.

    Args:
        path: the path.
        rank: see the table above.
        spots: where the group has to hang, at least one. An event may fit several of an `in` or `containsAny`.
        conditions: those that are known to hold of an event that found the group so.
    """

    path: Path
    rank: int
    spots: tuple[Spot, ...]
    conditions: tuple[Condition, ...]


_EQUALITY, _PART, _INTERVAL, _ABSENCE, _BOUND = range(5)

_LOWER = {Operator.GT: (Store.NUMBERS_GT, Store.STRINGS_GT), Operator.GE: (Store.NUMBERS_GE, Store.STRINGS_GE)}
_UPPER = {Operator.LT: (Store.NUMBERS_LT, Store.STRINGS_LT), Operator.LE: (Store.NUMBERS_LE, Store.STRINGS_LE)}
_BOUNDS = _LOWER | _UPPER
_INTERVALS = (Store.NUMBER_INTERVALS, Store.STRING_INTERVALS)


def list_accesses(conditions: Sequence[Condition]) -> list[Access]:
    """The accesses that AND-ed conditions offer: one per path at most, and always the same for the same conditions."""
    if len(conditions) == 1:
        access = _offer(conditions[0])
        return [] if access is None else [access]
    by_path: dict[Path, Access] = {}
    for condition in conditions:
        access = _offer(condition)
        if access is None:
            continue
        other = by_path.get(condition.path)
        if other is not None:
            access = _combine(other, access)
        by_path[condition.path] = access
    accesses = list(by_path.values())
    if len(accesses) > 1:
        accesses.sort(key=_selectivity)
    return accesses


def _selectivity(access: Access) -> tuple[int, Any]:
    return access.rank, guess_selectivity(access.conditions[0]) if access.rank == _EQUALITY else ()


def _offer(condition: Condition) -> Access | None:
    operator, value = condition.operator, condition.value
    spots: Iterable[Spot]
    rank = _PART
    match operator:
        case Operator.EQ if value is None:
            spots, rank = (Spot(Store.ABSENCES, condition.path),), _ABSENCE
        case Operator.EQ:
            spots, rank = (Spot(Store.VALUES, value_key(value)),), _EQUALITY  # type: ignore[arg-type]  # a scalar
        case Operator.IN:
            spots, rank = (Spot(Store.VALUES, each) for each in _values(condition)), _EQUALITY
        case Operator.CONTAINS:
            spots = (Spot(Store.ELEMENTS, value), Spot(Store.NEEDLES, value))
            if kind_of(value) == "number":
                spots = spots[:1]
        case Operator.CONTAINS_ANY:
            spots = (Spot(Store.ELEMENTS, each) for each in _values(condition))
        case Operator.BEGINS_WITH:
            spots = (Spot(Store.PREFIXES, value),)
        case Operator.BETWEEN:
            spots, rank = (Spot(_INTERVALS[_is_text(_values(condition)[0])], value),), _INTERVAL
        case Operator.LT | Operator.LE | Operator.GT | Operator.GE:
            spots, rank = (Spot(_BOUNDS[operator][_is_text(value)], value),), _BOUND
        case Operator.NE | Operator.NOT_IN | Operator.NOT_CONTAINS:
            return None
    return Access(condition.path, rank, tuple(spots), (condition,))


def _combine(first: Access, second: Access) -> Access:
    """The one access for two conditions on one path, which only filters that were intersected have."""
    if first.rank != second.rank or first.rank != _BOUND:
        return min(first, second, key=lambda access: access.rank)
    bounds = (first.conditions[0], second.conditions[0])
    lower = next((bound for bound in bounds if bound.operator in _LOWER), None)
    upper = next((bound for bound in bounds if bound.operator in _UPPER), None)
    if lower is None or upper is None or _is_text(lower.value) is not _is_text(upper.value):
        return first
    # The interval includes both ends: an end that is to be excluded remains to be tested.
    holding = tuple(bound for bound in (lower, upper) if bound.operator in (Operator.GE, Operator.LE))
    spot = Spot(_INTERVALS[_is_text(lower.value)], (lower.value, upper.value))
    return Access(first.path, _INTERVAL, (spot,), holding)


def _values(condition: Condition) -> tuple[Any, ...]:
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def _is_text(value: object) -> bool:
    return value.__class__ is str
