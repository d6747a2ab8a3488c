"""Placement: streams spread evenly, come to rest, and stay where they are then."""

from __future__ import annotations

import random

import pytest

from fanout.bus.placement import Placement


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_stream_is_nothing_to_spread() -> None:
    placement = Placement(1, 5000)
    placement.held = 1
    assert not placement.is_needed
    assert placement.pause_ms == 0


def test_whoever_holds_more_waits_longer_but_never_as_long_as_a_lease() -> None:
    placement = Placement(100, 5000)
    pauses = []
    for placement.held in range(20):
        pauses.append(placement.pause_ms)
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[:6] == [0, 500, 1000, 1500, 2000, 2500]
    assert pauses[-1] == 2500


def test_a_stream_is_given_up_to_whoever_holds_two_fewer_one_at_a_time() -> None:
    clock = Clock()
    placement = Placement(4, 5000, clock)
    placement.held = 3
    assert not placement.may_give_up(None)
    assert not placement.may_give_up(2)
    assert placement.may_give_up(1)
    assert not placement.may_give_up(0)
    clock.now += 2.5
    assert placement.may_give_up(0)


@pytest.mark.parametrize("seed", range(20))
def test_any_beginning_comes_to_rest_with_nobody_over_its_share(seed: int) -> None:
    """A model: gateways come and go, wishes are as old as they may be, and in each round each holder looks once."""
    chance = random.Random(seed)
    stream_count, clock = chance.randrange(2, 12), Clock()
    gateways = [Placement(stream_count, 5000, clock) for _ in range(chance.randrange(1, 6))]
    holder = {stream: chance.choice(gateways) for stream in range(stream_count)}
    for stream in holder:
        holder[stream].held += 1
    moves_at_rest = 0
    for number in range(60):
        wishes = {id(gateway): gateway.held for gateway in gateways}  # what was told a third of a lease ago
        for stream, gateway in holder.items():
            others = [other for other in gateways if other is not gateway]
            wisher = min(others, key=lambda other: wishes[id(other)], default=None)
            if wisher is not None and gateway.may_give_up(wishes[id(wisher)]):
                gateway.held -= 1
                # Whoever holds fewest takes it first.
                taker = min(gateways, key=lambda other: other.held)
                taker.held += 1
                holder[stream] = taker
                moves_at_rest += number >= 50
        clock.now += 2.5
    share = -(-stream_count // len(gateways))
    assert max(gateway.held for gateway in gateways) <= share
    assert max(gateway.held for gateway in gateways) - min(gateway.held for gateway in gateways) <= 1
    assert moves_at_rest == 0
