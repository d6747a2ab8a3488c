"""What operators order of all gateways: told to each, carried out there, and the answers added up. Knows no order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson

WAIT_S = 2.0
"""How long an order waits for the answers of all gateways, in seconds."""


MUTATION_ORDERS_PER_SECOND: Final = 100
"""What mutations may order on one gateway; AppSync's quota of invalidation requests. Announcements are kept for so many
only, so that a gateway that is late could miss some if there were more."""
MUTATION_ORDER_BYTES: Final = 16 * 1024
"""Longest order of a mutation: announcements are kept in Redis for a while."""


class Announced(Protocol):
    """What became of an announcement; see `fanout.bus.Announced`."""

    @property
    def told(self) -> int: ...

    @property
    def answers(self) -> Mapping[str, bytes]: ...


Announce = Callable[[bytes, float], Awaitable[Announced]]
"""Tells all gateways and waits so many seconds for their answers; raises Unavailable."""


class OrderRate:
    """Lets so many orders pass in each second.

    Args:
        orders: how many.
        now: seconds on a steady clock.
    """

    def __init__(self, orders: int = MUTATION_ORDERS_PER_SECOND, now: Callable[[], float] = time.monotonic) -> None:
        self._orders = orders
        self._now = now
        self._left = orders
        self._ends_at = now() + 1

    def admit(self) -> bool:
        """Whether one more may be given now."""
        now = self._now()
        if now >= self._ends_at:
            self._left, self._ends_at = self._orders, now + 1
        if not self._left:
            return False
        self._left -= 1
        return True


async def give_order(announce: Announce, order: Mapping[str, Any], wait_s: float = WAIT_S) -> dict[str, Any]:
    """Tell all gateways what to do.

    Args:
        announce: tells them.
        order: what.
        wait_s: for how many seconds at most their answers are waited for; with 0 it is only told.

    Returns:
        `gateways`: how many were told, and how many have carried it out by now; `ended`: the connections and
        subscriptions that this has ended.

    Raises:
        Unavailable: Redis did not answer.
    """
    announced = await announce(orjson.dumps(order), wait_s)
    answers = [answer for text in announced.answers.values() if "error" not in (answer := read_answer(text))]
    ended = {
        name: sum(answer.get("ended", {}).get(name, 0) for answer in answers)
        for name in ("connections", "subscriptions")
    }
    return {"gateways": count_gateways(announced.told, answers), "ended": ended}


def read_answer(answer: bytes) -> dict[str, Any]:
    """What a gateway answers to an order; has `error` where it could not carry it out."""
    if not answer:
        return {"error": "internal error; the log of that gateway has the cause"}
    return dict(orjson.loads(answer))


def count_gateways(told: int, answers: Sequence[object]) -> dict[str, int]:
    """How many were told something and have answered; one that came meanwhile may have answered untold."""
    return {"told": max(told, len(answers)), "answered": len(answers)}
