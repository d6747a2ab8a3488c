"""Values and absences are found as a dict of keys of their kinds would be searched."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from filters.accesses.equality import Absences, Values, value_key
from tests.filters import oracle, strategies
from tests.filters.accesses.store_machine import check_store

scalars = st.one_of(st.booleans(), strategies.ordered)
keys = scalars.map(value_key)


def test_values_are_found_by_kind_and_value() -> None:
    check_store(Values, keys, scalars, lambda key, field: bool(value_key(field) == key))


def test_true_and_one_are_two_values() -> None:
    values: Values[str] = Values()
    values[value_key(True)] = "true"
    values[value_key(1)] = "one"
    assert list(values.find(True)) == ["true"]
    assert list(values.find(1)) == list(values.find(1.0)) == ["one"]
    assert list(values.find(False)) == list(values.find(0)) == []


def test_absences_are_found_where_an_event_has_nothing() -> None:
    def is_absent(path: tuple[str, ...], event: Any) -> bool:
        return oracle.field_of(event, ".".join(path)) is None

    paths = st.sampled_from(strategies.FIELD_NAMES).map(lambda name: tuple(name.split(".")))
    check_store(Absences, paths, strategies.events, is_absent)
