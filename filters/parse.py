"""From what clients and configurations write to a `Filter`: the `filterGroup` form and plain arguments.

Knows nothing of how a filter is evaluated. The rules and limits are those of AppSync's guide, page "Extensions";
whatever the input is, the result is a `Filter` or a `FilterError`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from filters.errors import FilterError, quote, quote_shape
from filters.model import APPSYNC_LIMITS, MATCH_ALL, Condition, Filter, FilterLimits, Path, parse_path
from filters.operators import Operator, Scalar, parse_operator

_CONDITION_KEYS = frozenset(("fieldName", "operator", "value"))


def parse_filter(obj: object, limits: FilterLimits = APPSYNC_LIMITS) -> Filter:
    """Parse `{"filterGroup": [{"filters": [{"fieldName", "operator", "value"}, ...]}, ...]}`.

    Entries of `filters` are AND-ed, entries of `filterGroup` are OR-ed. Both need at least one entry: a filter that
    says nothing is taken for a mistake, and never for a wish to receive everything.

    Args:
        obj: parsed JSON, any.
        limits: how large the filter may be.

    Returns:
        The filter in canonical form.

    Raises:
        FilterError: another shape, an unknown operator, an operand that it does not take, a field that is used
            twice in one entry, or a limit; in AppSync's words where clients match on them.
    """
    alternatives = _items(_only_key(obj, "filterGroup"), "filterGroup")
    combinations = 0
    groups = []
    for alternative in alternatives:
        group = list(_parse_group(_items(_only_key(alternative, "filters"), "filters"), limits))
        groups.append(group)
        combinations += _count_combinations(group)
        if limits.combinations is not None and combinations > limits.combinations:
            raise FilterError.too_many_combinations(limits.combinations)
    return Filter(groups)


def build_equality_filter(values: Mapping[str, Scalar], limits: FilterLimits = APPSYNC_LIMITS) -> Filter:
    """The filter that plain subscription arguments are: each top-level field equals the argument of its name.

    Args:
        values: the arguments that were given, by name; None asks for null or absent. Leave omitted ones out: they
            are no constraint, and without any the result is `MATCH_ALL`.
        limits: only `attributes` applies.

    Raises:
        FilterError: a list or an object as value (AppSync's basic filtering does not take them), or too many.
    """
    if limits.attributes is not None and len(values) > limits.attributes:
        raise FilterError.too_many_attributes(limits.attributes)
    if not values:
        return MATCH_ALL
    return Filter([[Condition(parse_path(name), Operator.EQ, value) for name, value in values.items()]])


def _only_key(obj: object, key: str) -> object:
    if not isinstance(obj, Mapping) or list(obj) != [key]:
        raise FilterError(f'filter: expected an object {{"{key}": [...]}}, not {quote_shape(obj)}')
    return obj[key]


def _items(items: object, key: str) -> list[Any]:
    if not isinstance(items, list) or not items:
        raise FilterError(f"filter: '{key}' takes a list with at least one entry, not {quote(items)}")
    return items


def _parse_group(entries: list[Any], limits: FilterLimits) -> Iterator[Condition]:
    seen: set[Path] = set()
    for entry in entries:
        condition = _parse_condition(entry, limits)
        if condition.path in seen:
            raise FilterError.repeated_field()
        seen.add(condition.path)
        if limits.attributes is not None and len(seen) > limits.attributes:
            raise FilterError.too_many_attributes(limits.attributes)
        yield condition


def _parse_condition(entry: object, limits: FilterLimits) -> Condition:
    if not isinstance(entry, Mapping) or entry.keys() != _CONDITION_KEYS:
        raise FilterError(f"filter: expected an object of fieldName, operator and value, not {quote_shape(entry)}")
    field_name = entry["fieldName"]
    if not isinstance(field_name, str):
        raise FilterError(f"filter: fieldName takes a string, not {quote(field_name)}")
    _check_length(field_name, field_name, limits)
    path = parse_path(field_name)
    if limits.path_depth is not None and len(path) > limits.path_depth:
        raise FilterError(f"filter on '{field_name}': nested deeper than the limit of {limits.path_depth} levels")
    operator = parse_operator(entry["operator"], field_name)
    value = entry["value"]
    if isinstance(value, list):
        limit = _limit_of_values(operator, limits)
        if limit is not None and len(value) > limit:
            raise FilterError.too_many_values(operator.value, limit)
        for element in value:
            _check_length(element, field_name, limits)
        value = tuple(value)
    else:
        _check_length(value, field_name, limits)
    return Condition(path, operator, value)


def _limit_of_values(operator: Operator, limits: FilterLimits) -> int | None:
    if operator in (Operator.IN, Operator.NOT_IN):
        return limits.in_values
    return limits.contains_any_values if operator is Operator.CONTAINS_ANY else None


def _check_length(value: object, field_name: str, limits: FilterLimits) -> None:
    limit = limits.string_length
    if limit is not None and isinstance(value, str) and len(value) > limit:
        raise FilterError(f"filter on {quote(field_name)}: a string exceeds the limit of {limit} characters")


def _count_combinations(group: list[Condition]) -> int:
    """What an AND-group counts towards the limit: an `in` stands for one alternative per value."""
    count = 1
    for condition in group:
        if condition.operator is Operator.IN and isinstance(condition.value, tuple):
            count *= max(1, len(condition.value))
    return count
