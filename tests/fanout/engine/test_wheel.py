"""The wheel wakes each item once, not before it is due and within one tick after, on a clock of the test's own."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.engine.wheel import SLOTS, TICK_MS, Wheel


class Item:
    def __init__(self, then: list[int] | None = None) -> None:
        self.wheel_slot = -1
        self.woken: list[int] = []
        self._then = then or []

    def on_due(self, now_ms: int) -> int | None:
        self.woken.append(now_ms)
        return self._then.pop(0) if self._then else None


@given(st.lists(st.integers(1, (SLOTS - 2) * TICK_MS), max_size=20))
def test_every_item_is_woken_once_and_in_time(dues: list[int]) -> None:
    wheel = Wheel()
    items = [Item() for _ in dues]
    for item, due in zip(items, dues, strict=True):
        wheel.schedule(item, due)
    for now in range(0, SLOTS * TICK_MS, TICK_MS):
        wheel.advance(now)
    for item, due in zip(items, dues, strict=True):
        assert len(item.woken) == 1
        assert due <= item.woken[0] < due + TICK_MS


def test_an_item_beyond_the_horizon_is_woken_at_the_horizon_to_say_again() -> None:
    far = 3 * SLOTS * TICK_MS
    wheel, item = Wheel(), Item(then=[far, far, far])
    wheel.schedule(item, far)
    for now in range(0, far + TICK_MS, TICK_MS):
        wheel.advance(now)
    assert item.woken[-1] == far
    assert all(later - earlier <= SLOTS * TICK_MS for earlier, later in zip(item.woken, item.woken[1:], strict=False))


def test_a_cancelled_item_is_not_woken() -> None:
    wheel, item = Wheel(), Item()
    wheel.schedule(item, 1500)
    wheel.cancel(item)
    wheel.cancel(item)
    wheel.advance(10_000)
    assert item.woken == []


def test_scheduling_again_replaces_the_first_time() -> None:
    wheel, item = Wheel(), Item()
    wheel.schedule(item, 2000)
    wheel.schedule(item, 5000)
    wheel.advance(4000)
    assert item.woken == []
    wheel.advance(5000)
    assert item.woken == [5000]


def test_an_item_may_schedule_others_and_itself_while_it_is_woken() -> None:
    wheel, other = Wheel(), Item()

    class Scheduling(Item):
        def on_due(self, now_ms: int) -> int | None:
            wheel.schedule(other, now_ms + 1000)
            return super().on_due(now_ms)

    item = Scheduling(then=[4000])
    wheel.schedule(item, 1000)
    for now in (1000, 2000, 3000, 4000):
        wheel.advance(now)
    assert item.woken == [1000, 4000]
    assert other.woken == [2000]


def test_a_late_turn_wakes_all_that_is_overdue() -> None:
    wheel = Wheel()
    items = [Item() for _ in range(5)]
    for number, item in enumerate(items):
        wheel.schedule(item, (number + 1) * 1000)
    wheel.advance(60_000)
    assert all(item.woken == [60_000] for item in items)


async def test_the_timer_runs_and_stops() -> None:
    wheel = Wheel()
    done = asyncio.get_running_loop().create_future()

    class Finishing(Item):
        def on_due(self, now_ms: int) -> int | None:
            done.set_result(now_ms)
            return None

    wheel.start()
    due = wheel.now_ms() + 1
    wheel.schedule(Finishing(), due)
    assert await asyncio.wait_for(done, 10) >= due
    wheel.stop()
    wheel.stop()


def test_a_defect_of_one_item_leaves_the_others_awake(caplog: pytest.LogCaptureFixture) -> None:
    wheel, other = Wheel(), Item()

    class Failing(Item):
        def on_due(self, now_ms: int) -> int | None:
            raise RuntimeError("defect")

    for item in (Failing(), other):
        wheel.schedule(item, 1000)
    wheel.advance(1000)
    assert other.woken == [1000]
    assert "defect" in caplog.text
