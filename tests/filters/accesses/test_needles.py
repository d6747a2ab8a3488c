"""Needles are found by every string that contains them, long or short, few or many."""

from __future__ import annotations

from hypothesis import strategies as st

from filters.accesses.needles import Needles
from tests.filters.accesses.store_machine import check_store


def test_needles_are_found_by_the_strings_that_contain_them() -> None:
    texts = st.text("ab", max_size=7)
    check_store(Needles, texts, st.one_of(texts, st.text("ab", max_size=40)), lambda key, field: key in field)


def test_long_needles_that_share_most_of_their_grams() -> None:
    needles: Needles[int] = Needles()
    wanted = ["x" * 200 + f"{number:03}" for number in range(100)] + ["y" * 250, "", "x"]
    for number, needle in enumerate(wanted):
        needles[needle] = number
    for text in ("", "a", "x" * 300, "x" * 201 + "042", "-" * 2000 + "x" * 200 + "099", "y" * 250, "042"):
        assert sorted(needles.find(text)) == [number for number, needle in enumerate(wanted) if needle in text]
    for needle in wanted:
        del needles[needle]
    assert not needles
    assert needles.find("x" * 300) == []


def test_needles_with_a_gram_of_their_own_are_not_searched_for_elsewhere() -> None:
    needles: Needles[int] = Needles()
    for number in range(1000):
        needles[f"customer-{number:04}"] = number
    beside = needles._needles_by_gram
    assert max(len(each) if isinstance(each, dict) else 1 for each in beside.values()) < 20
