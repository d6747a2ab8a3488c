"""What an order comes to is the sum of what gateways answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from fanout.errors import Unavailable
from fanout.orders import WAIT_S, OrderRate, count_gateways, give_order, read_answer


@dataclass
class Announced:
    told: int
    answers: dict[str, bytes]


@dataclass
class Gateways:
    announced: Announced
    told: list[Any] = field(default_factory=list)

    async def announce(self, body: bytes, wait_s: float) -> Announced:
        self.told.append((orjson.loads(body), wait_s))
        return self.announced


def ended(connections: int, subscriptions: int) -> bytes:
    return orjson.dumps({"ended": {"connections": connections, "subscriptions": subscriptions}})


async def test_answers_are_added_up_and_those_who_could_not_have_not_answered() -> None:
    answers = {"a": ended(1, 2), "b": ended(10, 20), "c": b"", "d": orjson.dumps({"error": "no"}), "e": b"{}"}
    gateways = Gateways(Announced(6, answers))
    assert await give_order(gateways.announce, {"do": "x"}) == {
        "gateways": {"told": 6, "answered": 3},
        "ended": {"connections": 11, "subscriptions": 22},
    }
    assert gateways.told == [({"do": "x"}, WAIT_S)]


async def test_an_order_can_be_told_without_waiting() -> None:
    gateways = Gateways(Announced(2, {}))
    assert (await give_order(gateways.announce, {"do": "x"}, wait_s=0))["gateways"] == {"told": 2, "answered": 0}
    assert gateways.told == [({"do": "x"}, 0)]


def test_so_many_orders_pass_in_a_second() -> None:
    now = 5.0
    rate = OrderRate(2, lambda: now)
    assert [rate.admit() for _ in range(4)] == [True, True, False, False]
    now = 5.9
    assert not rate.admit()
    now = 6.0
    assert [rate.admit() for _ in range(3)] == [True, True, False]


async def test_nobody_to_tell() -> None:
    gateways = Gateways(Announced(0, {}))
    assert (await give_order(gateways.announce, {}))["gateways"] == {"told": 0, "answered": 0}


async def test_an_order_that_cannot_be_told_is_refused() -> None:
    async def announce(body: bytes, wait_s: float) -> Announced:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        await give_order(announce, {})


def test_an_answer_without_a_word_is_a_defect() -> None:
    assert "internal error" in read_answer(b"")["error"]
    assert read_answer(b'{"a":1}') == {"a": 1}


def test_one_that_came_meanwhile_counts_as_told() -> None:
    assert count_gateways(1, [1, 2]) == {"told": 2, "answered": 2}
