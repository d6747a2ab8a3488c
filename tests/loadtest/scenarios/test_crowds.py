import dataclasses

import pytest

from loadtest.measure import read_kernel_memory
from loadtest.scenarios import crowds
from loadtest.scenarios.crowds import describe_crowd, hold_crowd, run_crowd
from loadtest.stage import Setting

SETTING = Setting(lambda text: None, scale=0.002, timeout_s=10, quiet_s=0)


def test_everybody_and_rooms_are_reached():
    outcome = run_crowd(SETTING)
    assert outcome.faults == {}
    assert outcome.rows[0].is_met
    figures = outcome.figures
    assert (figures["connections"], figures["held"], figures["workers"]) == (200, 200, 2)
    assert sum(figures["spread"]) == 200
    assert len(figures["broadcast_seconds"]) == 3


def test_a_run_gives_up_before_memory_is_gone(monkeypatch):
    # As if memory went down to its end while connecting.
    reads = iter(
        [*[read_kernel_memory()] * 2, *[dataclasses.replace(read_kernel_memory(), available_bytes=1 << 29)] * 99]
    )
    monkeypatch.setattr(crowds, "read_kernel_memory", lambda: next(reads))
    held, books = hold_crowd(SETTING, 200)
    assert books is None
    assert "512 MiB of memory are left" in held.stopped_by
    row = describe_crowd("million", held, books).rows[0]
    assert (row.is_met, held.stopped_by in row.value) == (False, True)


@pytest.mark.parametrize(("before", "expected"), [({}, []), ({1: 10**9}, [])])
def test_processes_without_connections_are_no_gateways(before, expected):
    assert crowds.find_spread(before, 100) == expected
