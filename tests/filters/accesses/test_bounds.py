"""Bounds are found by what fulfils them, in however many chunks they are kept."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import strategies as st

from filters.accesses.bounds import Bounds
from filters.operators import Operator
from tests.filters import strategies
from tests.filters.accesses.store_machine import check_store

OPERATORS = {
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
}
numbers = st.one_of(st.integers(-9, 9), strategies.numbers)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize("values", [numbers, strategies.strings], ids=["numbers", "strings"])
def test_bounds_are_found_by_what_fulfils_them(
    kind: Operator, values: st.SearchStrategy[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filters.accesses.bounds._LARGEST_CHUNK", 3)
    check_store(lambda: Bounds(kind), values, values, lambda bound, field: bool(OPERATORS[kind](field, bound)))


def test_an_addition_never_moves_more_than_a_chunk() -> None:
    bounds: Bounds[int] = Bounds(Operator.GE)
    for number in range(5000):
        bounds[number * 7919 % 5000] = number
    assert max(map(len, bounds._bounds)) <= 512
    assert bounds._lows == [chunk[0] for chunk in bounds._bounds] == sorted(bounds._lows)
    assert len(list(bounds.find(2500))) == 2501
