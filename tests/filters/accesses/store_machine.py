"""One suite for every store: beside a plain dict, under any sequence of changes, it finds the keys that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.filters import strategies


def check_store(
    make: Callable[[], Any], keys: st.SearchStrategy[Any], fields: st.SearchStrategy[Any], fits: Callable[..., bool]
) -> None:
    """Run a store against a dict; `fits(key, field)` is the plain meaning of being found."""

    class StoreAgainstDict(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.store = make()
            self.plain: dict[Any, int] = {}
            self.number = 0

        @rule(key=keys)
        def put(self, key: Any) -> None:
            self.number += 1
            self.store[key] = self.plain[key] = self.number

        @rule(key=keys)
        def delete(self, key: Any) -> None:
            if key in self.plain:
                del self.store[key], self.plain[key]
            else:
                with pytest.raises(KeyError):
                    del self.store[key]

        @rule(key=keys)
        def get(self, key: Any) -> None:
            assert self.store.get(key) == self.plain.get(key)

        @rule(field=fields)
        def find(self, field: Any) -> None:
            expected = sorted(members for key, members in self.plain.items() if fits(key, field))
            assert sorted(self.store.find(field)) == expected

        @invariant()
        def knows_its_size(self) -> None:
            assert len(self.store) == len(self.plain)
            assert bool(self.store) is bool(self.plain)

    run_state_machine_as_test(
        StoreAgainstDict, settings=settings(strategies.thorough, max_examples=60, stateful_step_count=40)
    )
