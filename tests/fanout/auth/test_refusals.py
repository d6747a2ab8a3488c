"""How long refusals are held back, and that nobody can make it remember or hold without bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth import refusals as module
from fanout.auth.refusals import FORGOTTEN_AFTER_SECONDS, PATIENCE, Refusals


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(refusals: Refusals, address: str = "here", asked_at: float | None = None) -> int:
    """One failure, answered at once for what the books know; ms that it was to be held back."""
    wait_s = refusals.hold(address, refusals.now() if asked_at is None else asked_at)
    if wait_s:
        refusals.release()
    return round(wait_s * 1000)


def test_who_goes_on_waits_longer_up_to_a_bound(clock: Clock) -> None:
    refusals = Refusals(100, 5000, clock)
    assert [fail(refusals) for _ in range(PATIENCE)] == [100] * PATIENCE
    assert [fail(refusals) for _ in range(8)] == [200, 400, 800, 1600, 3200, 5000, 5000, 5000]
    for _ in range(5000):  # however large the count
        fail(refusals)
    assert fail(refusals) == 5000
    assert fail(refusals, "elsewhere") == 100


def test_a_quiet_while_is_forgiven(clock: Clock) -> None:
    refusals = Refusals(100, 5000, clock)
    for _ in range(PATIENCE + 3):
        fail(refusals)
    clock.seconds += FORGOTTEN_AFTER_SECONDS
    assert fail(refusals) == 1600
    clock.seconds += FORGOTTEN_AFTER_SECONDS + 1
    assert fail(refusals) == 100


@given(took_ms=st.integers(0, 300))
def test_the_answer_comes_at_the_same_time_however_long_it_took_to_find_out(took_ms: int) -> None:
    clock = Clock()
    refusals = Refusals(100, 5000, clock)
    asked_at = clock.seconds
    clock.seconds += took_ms / 1000
    assert took_ms + fail(refusals, asked_at=asked_at) == max(100, took_ms)


def test_without_a_delay_nothing_is_held_or_remembered(clock: Clock) -> None:
    refusals = Refusals(0, 5000, clock)
    assert [fail(refusals) for _ in range(50)] == [0] * 50
    assert refusals._failures == {}


def test_a_delay_above_the_longest_is_the_longest(clock: Clock) -> None:
    assert fail(Refusals(7000, 5000, clock)) == 7000


def test_so_many_are_held_and_no_more(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 3)
    refusals = Refusals(100, 5000, clock)
    assert [refusals.hold(str(number), clock.seconds) for number in range(5)] == [0.1, 0.1, 0.1, 0, 0]
    assert refusals.held == 3
    refusals.release()
    assert refusals.hold("more", clock.seconds) == 0.1


def test_so_many_are_remembered_and_the_quietest_is_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 3)
    refusals = Refusals(100, 5000, clock)
    for _ in range(PATIENCE + 1):
        for address in ("one", "two", "three"):
            fail(refusals, address)
    fail(refusals, "one")
    fail(refusals, "four")
    assert len(refusals._failures) == 3
    assert (fail(refusals, "one"), fail(refusals, "three"), fail(refusals, "two")) == (800, 400, 100)
