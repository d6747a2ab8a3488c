"""How many connections are closed when, for any number of them and any settings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanout.gateway.draining import STEP_MS, close_in_steps


class Client:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def shutdown(self) -> None:
        self._gateway.open.remove(self)


class Gateway:
    """Remembers how many were open after each step."""

    def __init__(self, count: int, forced_at_step: int | None = None) -> None:
        self.open = [Client(self) for _ in range(count)]
        self.history = [count]
        self._forced_at_step = forced_at_step

    async def pause(self, ms: int) -> bool:
        assert ms == STEP_MS
        self.history.append(len(self.open))
        return self._forced_at_step is not None and len(self.history) > self._forced_at_step


async def drain(gateway: Gateway, per_second: int, within_ms: int) -> None:
    count = len(gateway.open)
    assert await close_in_steps(lambda: list(gateway.open), per_second, within_ms, gateway.pause) == count
    assert gateway.open == []


@given(st.integers(0, 5000), st.integers(1, 20_000), st.integers(1, 5000))
async def test_all_are_closed_in_time_and_evenly(count: int, per_second: int, within_ms: int) -> None:
    gateway = Gateway(count)
    await drain(gateway, per_second, within_ms)
    steps = [before - after for before, after in zip(gateway.history, gateway.history[1:], strict=False)]
    assert len(gateway.history) <= max(1, within_ms // STEP_MS)
    expected = max(1, per_second // 10)
    if count <= expected * max(1, within_ms // STEP_MS):
        assert all(step == expected for step in steps)
    else:  # too many for the rate: as even as can be
        assert max(steps, default=0) - min(steps, default=0) <= 1


async def test_when_there_is_no_time_left_the_rest_is_closed_at_once() -> None:
    gateway = Gateway(1000, forced_at_step=3)
    await drain(gateway, 100, 100_000)
    assert gateway.history == [1000, 990, 980, 970]


async def test_one_that_comes_meanwhile_is_closed_too() -> None:
    gateway = Gateway(1)
    late = Client(gateway)

    class Last(Client):
        def shutdown(self) -> None:
            super().shutdown()
            gateway.open.append(late)

    gateway.open = [Last(gateway)]
    assert await close_in_steps(lambda: list(gateway.open), 10, 1000, gateway.pause) == 2
