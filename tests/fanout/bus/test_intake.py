"""The intake: each event once and in order, whatever ways it comes in."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanout.bus.entries import EntryId
from fanout.bus.intake import Intake
from fanout.metrics import Metrics
from fanout.model import Event

# A busy machine is no reason to fail.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def event(number: int) -> Event:
    return Event(f"{number // 10}-{number % 10}", "m", None, b"null", 0)


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.metrics = Metrics()
        self.intake = Intake(self._deliver, self.metrics)

    def _deliver(self, stream: str, events: list[Event]) -> None:
        self.calls.append((stream, [event.id for event in events]))


@relaxed
@given(
    st.lists(st.integers(1, 60), unique=True).map(sorted),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12),
)
def test_ways_that_are_each_complete_give_each_event_once(promised: list[int], reads: list[tuple[int, int]]) -> None:
    """Routers that start anywhere at or before what was taken, and each write a run without gaps."""
    recorder = Recorder()
    taken = 0
    for start, length in reads:
        begin = min(start, taken)
        run = promised[begin : begin + length]
        recorder.intake.take("s", [event(number) for number in run])
        taken = max(taken, begin + len(run))
    got = [entry_id for _, ids in recorder.calls for entry_id in ids]
    assert got == [event(number).id for number in promised[:taken]]
    assert recorder.metrics.events_in == len(got)
    assert all(ids for _, ids in recorder.calls)


def test_two_routers_may_have_written_in_turn() -> None:
    recorder = Recorder()
    recorder.intake.take("s", [event(1), event(2), event(1), event(2), event(3), event(2), event(4)])
    assert recorder.calls == [("s", [event(number).id for number in (1, 2, 3, 4)])]


def test_streams_are_apart() -> None:
    recorder = Recorder()
    recorder.intake.start_at("a", EntryId(0, 5))
    recorder.intake.take("a", [event(5)])
    recorder.intake.take("b", [event(5)])
    recorder.intake.take("a", [event(6)])
    assert recorder.calls == [("b", ["0-5"]), ("a", ["0-6"])]
    assert recorder.intake.last("a") == EntryId(0, 6)


def test_events_whose_delivery_failed_are_not_tried_again() -> None:
    def fail(stream: str, events: list[Event]) -> None:
        raise ZeroDivisionError

    intake = Intake(fail, Metrics())
    with pytest.raises(ZeroDivisionError):
        intake.take("s", [event(1)])
    intake.take("s", [event(1)])


def test_what_is_for_others_is_taken_without_coming_here() -> None:
    recorder = Recorder()
    recorder.intake.take("s", [event(11)])
    recorder.intake.advance("s", EntryId(1, 5))
    assert recorder.intake.last("s") == EntryId(1, 5)
    recorder.intake.advance("s", EntryId(1, 2))
    assert recorder.intake.last("s") == EntryId(1, 5)
    recorder.intake.take("s", [event(13), event(15), event(16)])
    assert [ids for _, ids in recorder.calls] == [["1-1"], ["1-6"]]


def test_a_new_beginning_is_counted() -> None:
    recorder = Recorder()
    recorder.intake.start_at("s", EntryId(5, 0))
    assert recorder.intake.rebased == 1
