"""The values of the language: condition, filter, limits. Knows nothing of JSON forms, events or indexes.

A `Filter` is an OR of AND-groups of conditions in canonical form: two filters that were written differently but come
down to the same conditions are one value with one `key`, so that their subscribers can share all work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from filters.errors import FilterError, quote
from filters.operators import Operand, Operator, check_text, normalise_operand, scalar_text

Path = tuple[str, ...]
Group = tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """How large a filter may be; None means no limit. The defaults are AppSync's (guide, page "Extensions").

    Args:
        attributes: distinct fields in one AND-group, or plain arguments of a subscription.
        combinations: AND-groups of a filter, where an `in` of n values counts as n alternatives.
        in_values: values of `in` and `notIn`.
        contains_any_values: values of `containsAny`.
        string_length: characters of a string operand or a field name.
        path_depth: names in a nested path `a.b.c`. AppSync ignores deeper conditions; here they are refused, since
            a dropped condition lets through what the client asked to be kept away.
    """

    attributes: int | None = 5
    combinations: int | None = 10
    in_values: int | None = 5
    contains_any_values: int | None = 20
    string_length: int | None = 256
    path_depth: int | None = 5


APPSYNC_LIMITS = FilterLimits()


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a field with an operand; `filters.operators` has the table of meanings.

    Args:
        path: names from the event's top level down to the field.
        operator: what is asked.
        value: the operand: a tuple for `in`, `notIn`, `between` and `containsAny`, else a scalar.
    """

    path: Path
    operator: Operator
    value: Operand


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Filter:
    """An OR of AND-groups in canonical form: sorted, without duplicates, operands normalised.

    Filters are equal when their keys are. An AND-group without conditions matches every event, which makes the
    others pointless: the filter is then `MATCH_ALL`.

    Args:
        groups: any number of AND-groups, at least one, in any order.

    Raises:
        FilterError: no group at all, or an operand that its operator does not take.
    """

    groups: tuple[Group, ...]
    key: str

    def __init__(self, groups: Iterable[Iterable[Condition]]) -> None:
        by_text: dict[str, Group] = {}
        for group in groups:
            conditions = dict(map(_normalise, group))
            texts = sorted(conditions)
            by_text[" & ".join(texts) or "*"] = tuple([conditions[text] for text in texts])
        if not by_text:
            raise FilterError("a filter needs at least one AND-group")
        texts = ["*"] if "*" in by_text else sorted(by_text)
        object.__setattr__(self, "groups", tuple([by_text[text] for text in texts]))
        object.__setattr__(self, "key", " | ".join(texts))

    @property
    def paths(self) -> frozenset[Path]:
        """All paths that a condition reads. Computed at each call: a million filters should not hold a set each."""
        return frozenset(condition.path for group in self.groups for condition in group)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Filter) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"<Filter {self.key}>"


def _normalise(condition: Condition) -> tuple[str, Condition]:
    """The condition's canonical text, and its canonical form (the same object where it is in that form)."""
    field_name = ".".join(condition.path)
    operator, value = normalise_operand(condition.operator, condition.value, field_name)
    if value is not condition.value or operator is not condition.operator:
        condition = Condition(condition.path, operator, value)
    operand = f"[{','.join(map(scalar_text, value))}]" if isinstance(value, tuple) else scalar_text(value)
    return f"{scalar_text(field_name)} {operator.value} {operand}", condition


MATCH_ALL = Filter([()])


def intersect_filters(left: Filter, right: Filter) -> Filter:
    """The filter that holds where both hold: each AND-group of one joined with each of the other.

    Takes len(left.groups) x len(right.groups) steps, and applies no limits: those are for what a client sends, and
    are applied to either side when it is parsed.
    """
    return Filter(ours + theirs for ours in left.groups for theirs in right.groups)


def unite_filters(left: Filter, right: Filter) -> Filter:
    """The filter that holds where either holds: the AND-groups of both. Applies no limits."""
    return Filter(left.groups + right.groups)


@lru_cache(maxsize=4096)
def parse_path(field_name: str) -> Path:
    """Split `a.b.c` into its names. Equal names share one tuple, as a million filters use few paths.

    Raises:
        FilterError: an empty name, or one that UTF-8 cannot carry.
    """
    path = tuple(field_name.split("."))
    if not all(path):
        raise FilterError(f"filter: {quote(field_name)} is not a field name, or not a path of names like a.b.c")
    check_text(field_name, field_name)
    return path
