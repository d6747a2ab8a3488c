"""The matching benchmark at a size that takes a moment: its index finds what a look at every filter finds.

Nothing here looks at a clock; what the figures are is for docs/performance.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from filters import FilterIndex, compile_filter
from tests.bench.draw_matching import BEGIN, END, FIGURES, PAGE, PLOT, draw, render_table
from tests.bench.filter_workloads import MIXED, WORKLOADS, Workload
from tests.bench.measure_filters import measure_shared, measure_steps, measure_workload

names = [workload.name for workload in WORKLOADS]


@pytest.mark.parametrize("workload", WORKLOADS, ids=names)
def test_the_index_finds_what_a_look_at_every_filter_finds(workload: Workload) -> None:
    count = 2000
    index: FilterIndex[int] = FilterIndex()
    predicates = {}
    for number in range(count):
        filter = workload.filter(number, count)
        index.add(number, filter)
        predicates[number] = compile_filter(filter)
    random = Random(3)
    events = [workload.event(random, count) for _ in range(10)]
    for left in (count, count // 2):
        for number in [number for number in predicates if number >= left]:
            index.remove(number)
            del predicates[number]
        for event in events:
            assert sorted(index.match(event)) == [number for number, holds in predicates.items() if holds(event)]


@pytest.mark.parametrize("workload", WORKLOADS, ids=names)
def test_every_event_of_a_workload_finds_something_in_time(workload: Workload) -> None:
    figures = measure_workload(workload, 1000, 100)
    assert figures["filters"] == len({workload.filter(number, 1000).key for number in range(1000)})
    assert figures["matches"] >= 0.9


def test_the_mixed_workload_is_what_it_says() -> None:
    """Shares of 20,000 subscriptions, and at most 1,000 distinct filters that have to be scanned or searched for."""
    kinds: dict[str, int] = {}
    hardest = set()
    for number in range(20_000):
        filter = MIXED.filter(number, 20_000)
        first = MIXED.conditions(number, 20_000)[0]
        kinds[first["operator"]] = kinds.get(first["operator"], 0) + 1
        if first["operator"] in ("ne", "notIn") or (first["operator"], first["fieldName"]) == ("contains", "content"):
            hardest.add(filter.key)
    assert kinds["eq"] + kinds["in"] == 12_000
    assert kinds["between"] + kinds["ge"] + kinds["lt"] == 3000
    assert kinds["beginsWith"] == 2000
    assert kinds["containsAny"] == 1000
    assert kinds["ne"] + kinds["notIn"] + kinds["contains"] == 2000
    assert 900 < len(hardest) <= 1000


def test_subscriptions_that_share_filters_are_counted() -> None:
    few, many = measure_shared(300, 10)
    assert (few["matches"], many["matches"]) == (1, 30)
    assert all(figure > 0 for figure in measure_steps().values())


def test_page_and_plot_show_what_was_recorded(tmp_path: Path) -> None:
    result = json.loads(FIGURES.read_text())
    shown = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert shown == render_table(result)
    draw(result["rows"], tmp_path / "one.svg")
    draw(result["rows"], tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert PLOT.read_text().startswith("<?xml")
