"""Prefixes are found by every string that starts with them."""

from __future__ import annotations

from hypothesis import strategies as st

from filters.accesses.prefixes import Prefixes
from tests.filters.accesses.store_machine import check_store

texts = st.text("ab", max_size=4)


def test_prefixes_are_found_by_the_strings_that_start_with_them() -> None:
    check_store(Prefixes, texts, texts, lambda key, field: bool(field.startswith(key)))
