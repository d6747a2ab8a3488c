"""What operators order of all gateways: told to each, carried out there, and the answers added up. Knows no order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

WAIT_S = 2.0
"""How long an order waits for the answers of all gateways, in seconds."""


class Announced(Protocol):
    """What became of an announcement; see `fanout.bus.Announced`."""

    @property
    def told(self) -> int: ...

    @property
    def answers(self) -> Mapping[str, bytes]: ...


Announce = Callable[[bytes, float], Awaitable[Announced]]
"""Tells all gateways and waits so many seconds for their answers; raises Unavailable."""


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
