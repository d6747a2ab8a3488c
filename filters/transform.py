"""From the form in which clients write filters to the `filterGroup` form: AppSync's `toSubscriptionFilter`.

The input is an object whose keys are AND-ed. A key is a field name with an object of operators, of which ONE has to
hold (AppSync's guide: several operators on a field are an OR), or `and` / `or` with a list of such objects. The
output is its disjunctive normal form, in the order in which the guide's examples have it. Knows nothing of what
operators mean: `parse_filter` checks names, operands and the other limits. Source: the guide, page "Transformation
helpers in util.transform".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

from filters.errors import FilterError, quote
from filters.model import APPSYNC_LIMITS, FilterLimits

# Objects and lists inside one another. Far from what ten combinations can use, and from the interpreter's own limit.
_DEEPEST_NESTING = 64

_Conditions = list[dict[str, Any]]
_Alternatives = list[_Conditions]


def to_subscription_filter(
    obj: object,
    ignored_fields: Collection[str] = (),
    rules: Mapping[str, Any] | None = None,
    limits: FilterLimits = APPSYNC_LIMITS,
) -> dict[str, Any]:
    """Expand a nested filter into `{"filterGroup": [{"filters": [...]}, ...]}`, to be given to `parse_filter`.

    Null instead of operators, of a list, or of `obj` itself counts as not given: typed GraphQL inputs are full of them.
    So does an object that is empty, and an `and` of nothing, which always holds. An `or` of nothing never does: taking
    it for no filter would send everything to a client that asked for nothing, so it is refused.

    Args:
        obj: the nested filter, as a mapping or as the JSON text of one.
        ignored_fields: conditions on these fields are left out; in an `or`, only that alternative disappears.
        rules: `{field: {operator: value}}`, one operator each; every alternative of the result is AND-ed with each
            rule, so that at least one rule always holds. Not affected by `ignored_fields`.
        limits: only `combinations` applies; it bounds the work too, so raise it with care.

    Returns:
        The expanded filter; its `filterGroup` is empty when there is no condition in `obj` and no rule.

    Raises:
        FilterError: text that is not JSON, another shape, `not`, an empty `or`, or too many combinations.
    """
    expansion = _Expansion(frozenset(ignored_fields), limits.combinations)
    alternatives = expansion.expand(_load(obj) if isinstance(obj, str) else obj, _DEEPEST_NESTING)
    strict = [[_rule(field_name, operators)] for field_name, operators in (rules or {}).items()]
    if strict:
        alternatives = expansion.multiply(alternatives, strict) if alternatives else strict
    return {"filterGroup": [{"filters": conditions} for conditions in alternatives]}


class _Expansion:
    """One run of the expansion. An empty list of alternatives means that nothing was asked, not that nothing fits."""

    def __init__(self, ignored_fields: frozenset[str], limit: int | None) -> None:
        self._ignored_fields = ignored_fields
        self._limit = limit

    def expand(self, obj: object, depth: int) -> _Alternatives:
        if obj is None:
            return []
        if not isinstance(obj, Mapping):
            raise FilterError(f"filter: expected an object of fields, `and` and `or`, not {quote(obj)}")
        if depth == 0:
            raise FilterError(f"filter: nested deeper than {_DEEPEST_NESTING} levels")
        result: _Alternatives = []
        for name, value in obj.items():
            alternatives = self._expand_key(name, value, depth - 1)
            result = self.multiply(result, alternatives) if result and alternatives else result or alternatives
        return result

    def multiply(self, left: _Alternatives, right: _Alternatives) -> _Alternatives:
        # What is multiplied or added later can only become more, so the limit on the result holds for each part.
        self._check_count(len(left) * len(right))
        return [ours + theirs for ours in left for theirs in right]

    def _expand_key(self, name: object, value: object, depth: int) -> _Alternatives:
        if not isinstance(name, str):
            raise FilterError(f"filter: expected a field name, not {quote(name)}")
        if name == "not":
            raise FilterError.negated_group()
        if name in self._ignored_fields or value is None:
            return []
        if name == "and":
            result: _Alternatives = []
            for part in _list_of(name, value):
                alternatives = self.expand(part, depth)
                result = self.multiply(result, alternatives) if result and alternatives else result or alternatives
            return result
        if name == "or":
            parts = _list_of(name, value)
            if not parts:
                raise FilterError("filter: `or` takes at least one alternative: an empty one holds for no event")
            return self._join(self.expand(part, depth) for part in parts)
        if not isinstance(value, Mapping):
            _refuse_operators(name, value)
        return self._join([[_condition(name, operator, operand)]] for operator, operand in value.items())

    def _join(self, parts: Iterable[_Alternatives]) -> _Alternatives:
        result: _Alternatives = []
        for part in parts:
            result += part
            self._check_count(len(result))
        return result

    def _check_count(self, count: int) -> None:
        if self._limit is not None and count > self._limit:
            raise FilterError.too_many_combinations(self._limit)


def _load(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FilterError):
            raise
        raise FilterError("filter: the text is not valid JSON") from None


def _refuse_constant(name: str) -> NoReturn:
    raise FilterError(f"filter: the text is not valid JSON: {name} is not a JSON value")


def _list_of(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise FilterError(f"filter: `{name}` takes a list of objects, not {quote(value)}")
    return value


def _rule(field_name: str, operators: object) -> dict[str, Any]:
    if field_name in ("and", "or", "not"):
        raise FilterError(f"filter: rules take field names only, not `{field_name}`")
    if not isinstance(operators, Mapping):
        _refuse_operators(field_name, operators)
    if len(operators) != 1:
        raise FilterError(f"filter: the rule on {quote(field_name)} takes exactly one operator")
    [(operator, value)] = operators.items()
    return _condition(field_name, operator, value)


def _condition(field_name: str, operator: object, value: object) -> dict[str, Any]:
    return {"fieldName": field_name, "operator": operator, "value": value}


def _refuse_operators(field_name: str, value: object) -> NoReturn:
    raise FilterError(
        f'filter: field {quote(field_name)} takes an object of operators like {{"eq": ...}}, not {quote(value)}'
    )
