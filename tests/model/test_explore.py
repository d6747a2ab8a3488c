"""The explorer itself, against all orders there are: one schedule of each kind, no kind left out, none twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.explore import Failed, Touched, _conflict, explore

Step = tuple[str, str]
"""What it does (read, write, take, free) and to which thing."""
Program = dict[str, list[Step]]
Kind = frozenset[Any]


class Machine:
    """Processes with steps on shared things; a thing that is taken has to be freed before it can be taken again."""

    def __init__(self, program: Program, ends: list[list[tuple[str, Touched]]]) -> None:
        self.left = {name: list(steps) for name, steps in program.items()}
        self.taken: set[str] = set()
        self.trace: list[tuple[str, Touched]] = []
        self.ends = ends

    def list_enabled(self) -> list[str]:
        return [
            name
            for name, steps in self.left.items()
            if steps and not (steps[0][0] == "take" and steps[0][1] in self.taken)
        ]

    def take_step(self, process: str) -> Touched:
        touched = self.look_ahead(process)
        does, thing = self.left[process].pop(0)
        if does == "take":
            self.taken.add(thing)
        elif does == "free":
            self.taken.discard(thing)
        self.trace.append((process, touched))
        return touched

    def list_prevented(self) -> dict[str, Touched]:
        enabled = self.list_enabled()
        return {name: self.look_ahead(name) for name, steps in self.left.items() if steps and name not in enabled}

    def look_ahead(self, process: str) -> Touched:
        does, thing = self.left[process][0]
        return frozenset([(thing, does != "read")])

    def finish(self) -> None:
        self.ends.append(self.trace)

    def abandon(self) -> None:
        pass


def kind_of(trace: list[tuple[str, Touched]]) -> Kind:
    """Equal for schedules that differ only in the order of steps that touch nothing in common."""
    count: Counter[str] = Counter()
    names = []
    for process, _ in trace:
        count[process] += 1
        names.append((process, count[process]))
    return frozenset(
        (names[first], names[second])
        for second in range(len(trace))
        for first in range(second)
        if trace[first][0] == trace[second][0] or _conflict(trace[first][1], trace[second][1])
    ) | frozenset(names)


def run_all_orders(program: Program) -> set[Kind]:
    """By brute force: every order, one after the other."""
    kinds: set[Kind] = set()
    orders: list[list[str]] = [[]]
    while orders:
        order = orders.pop()
        machine = Machine(program, [])
        for process in order:
            machine.take_step(process)
        enabled = machine.list_enabled()
        orders += [[*order, process] for process in enabled]
        if not enabled:
            kinds.add(kind_of(machine.trace))
    return kinds


steps = st.tuples(st.sampled_from(["read", "write", "take", "free"]), st.sampled_from("xy"))
programs = st.fixed_dictionaries(
    {"a": st.lists(steps, max_size=3), "b": st.lists(steps, max_size=3), "c": st.lists(steps, max_size=2)}
)


@settings(max_examples=60, deadline=None)
@given(programs)
def test_one_schedule_of_each_kind(program: Program) -> None:
    ends: list[list[tuple[str, Touched]]] = []
    explored = explore(lambda: Machine(program, ends), 10_000)
    assert explored.is_complete
    kinds = [kind_of(trace) for trace in ends]
    assert len(kinds) == explored.schedules
    assert set(kinds) == run_all_orders(program)


def test_what_touches_nothing_in_common_is_run_once() -> None:
    program = {name: [("write", name), ("write", name)] for name in "abcd"}
    explored = explore(lambda: Machine(program, []), 10)
    assert (explored.schedules, explored.steps, explored.is_complete) == (1, 8, True)


def test_it_says_if_it_did_not_come_to_the_end() -> None:
    program = {name: [("write", "x")] for name in "abcd"}
    assert not explore(lambda: Machine(program, []), 10).is_complete
    assert explore(lambda: Machine(program, []), 24).is_complete


class LostUpdate(Machine):
    """Adds one to a number in two steps."""

    def finish(self) -> None:
        order = [process for process, _ in self.trace]
        assert order in (["a", "a", "b", "b"], ["b", "b", "a", "a"])


def test_a_failure_comes_with_its_schedule() -> None:
    program = {name: [("read", "x"), ("write", "x")] for name in "ab"}
    with pytest.raises(Failed, match="after a b"):
        explore(lambda: LostUpdate(program, []), 100)
