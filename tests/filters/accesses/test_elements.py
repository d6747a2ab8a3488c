"""Elements are found by any list that has them, once."""

from __future__ import annotations

from hypothesis import strategies as st

from filters.accesses.elements import Elements
from tests.filters import oracle, strategies
from tests.filters.accesses.store_machine import check_store


def test_elements_are_found_by_the_lists_that_have_them() -> None:
    check_store(
        Elements,
        strategies.ordered,
        st.lists(st.one_of(strategies.values, strategies.ordered), max_size=6),
        lambda key, field: any(oracle.equal(key, element) for element in field),
    )


def test_a_repeated_element_is_found_once() -> None:
    elements: Elements[str] = Elements()
    elements[1] = "one"
    assert list(elements.find([1, 1.0, True, None, {}, [1]])) == ["one"]
