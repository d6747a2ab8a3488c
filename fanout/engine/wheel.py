"""The timer wheel: one timer for all connections. Knows nothing of what it wakes.

A task or a `call_later` per connection costs about 1 KB and a heap operation each; here an item is one entry in
the slot of its second. After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("fanout.engine")

TICK_MS = 1000
SLOTS = 512


class Due(Protocol):
    """An item of the wheel."""

    wheel_slot: int
    """Kept by the wheel: where the item stands, -1 when nowhere."""

    def on_due(self, now_ms: int) -> int | None:
        """Do what is due. Returns when to be woken next, in ms on the wheel's clock, or None for never."""
        ...


class Wheel:
    """Wakes items within one tick after they are due. All methods are called on the event loop.

    Items due later than the wheel's horizon (SLOTS ticks, 8.5 minutes) are woken at the horizon, and say again
    when they are due: so one slot array serves a keep-alive of a minute and a life of a day.
    """

    def __init__(self, now_ms: Callable[[], int] | None = None) -> None:
        self.now_ms = now_ms or _read_clock_ms
        """The wheel's clock, in ms; the monotonic one unless a test brings its own."""
        self._slots: list[dict[Due, None]] = [{} for _ in range(SLOTS)]
        self._tick = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to tick."""
        self._tick = self.now_ms() // TICK_MS
        self._handle = asyncio.get_running_loop().call_later(TICK_MS / 1000, self._turn)

    def stop(self) -> None:
        """Stop ticking; items stay where they are."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def schedule(self, item: Due, due_ms: int) -> None:
        """Wake the item at `due_ms`, instead of when it was to be woken so far. Constant cost."""
        self.cancel(item)
        tick = max(self._tick + 1, min(-(-due_ms // TICK_MS), self._tick + SLOTS - 1))
        item.wheel_slot = tick % SLOTS
        self._slots[item.wheel_slot][item] = None

    def cancel(self, item: Due) -> None:
        """Do not wake the item. Constant cost."""
        if item.wheel_slot >= 0:
            del self._slots[item.wheel_slot][item]
            item.wheel_slot = -1

    def advance(self, now_ms: int) -> None:
        """Wake all items that are due at `now_ms`. Called by the timer; tests call it with a clock of their own."""
        last = now_ms // TICK_MS
        while self._tick < last:
            self._tick += 1
            slot = self._slots[self._tick % SLOTS]
            if not slot:
                continue
            self._slots[self._tick % SLOTS] = {}
            for item in slot:
                item.wheel_slot = -1
            for item in slot:
                if item.wheel_slot < 0:  # else: rescheduled meanwhile by an earlier item of this slot
                    self._wake(item, now_ms)

    def _wake(self, item: Due, now_ms: int) -> None:
        try:
            due_ms = item.on_due(now_ms)
        except Exception:  # our defect with one item must not leave all others of its slot asleep for ever
            logger.exception("an item of the wheel failed, it is not woken again")
            return
        if due_ms is not None:
            self.schedule(item, due_ms)

    def _turn(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(TICK_MS / 1000, self._turn)
        self.advance(self.now_ms())


def _read_clock_ms() -> int:
    # Not the event loop's clock: to ask for the running loop is a system call (getpid) in Python 3.11.
    return time.monotonic_ns() // 1_000_000
