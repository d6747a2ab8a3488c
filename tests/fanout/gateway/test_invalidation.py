"""Invalidation filters are found by payload, and forgotten with their subscriptions."""

from __future__ import annotations

from typing import Any, cast

from fanout.gateway.decisions import Planning
from fanout.gateway.invalidation import Invalidations
from fanout.gateway.subscriptions import Subscriber
from filters import build_equality_filter


def test_a_payload_finds_those_whose_filter_it_matches_on_its_field() -> None:
    invalidations = Invalidations()
    one, other = (cast(Subscriber, object()) for _ in range(2))
    in_room: Any = [build_equality_filter({"room": room}) for room in ("a", "b")]
    invalidations.add("onX", in_room[0], one, "1")
    invalidations.add("onX", in_room[1], one, "2")
    invalidations.add("onX", in_room[0], other, "1")
    invalidations.add("onY", in_room[0], other, "2")
    assert len(invalidations) == 4
    assert set(invalidations.match("onX", {"room": "a", "more": 1})) == {(one, "1"), (other, "1")}
    assert invalidations.match("onX", {"room": "b"}) == [(one, "2")]
    assert invalidations.match("onX", {}) == invalidations.match("onZ", {"room": "a"}) == []

    invalidations.discard("onX", one, "1")
    invalidations.discard("onX", one, "1")  # was there, but is no more
    invalidations.discard("onZ", one, "1")  # never was
    assert invalidations.match("onX", {"room": "a"}) == [(other, "1")]
    for field, subscriber, id in (("onX", one, "2"), ("onX", other, "1"), ("onY", other, "2")):
        invalidations.discard(field, subscriber, id)
    assert len(invalidations) == 0


def test_what_comes_while_something_is_resolved_is_remembered_as_long_as_that() -> None:
    invalidations = Invalidations()
    early, late = (cast(Planning, object()) for _ in range(2))
    in_a, in_b = (build_equality_filter({"room": room}) for room in "ab")
    invalidations.match("onX", {"room": "b"})
    invalidations.begin(early)
    assert not invalidations.came_since(early, "onX", in_b)
    invalidations.match("onX", {"room": "a"})
    invalidations.begin(late)
    assert invalidations.came_since(early, "onX", in_a)
    assert not invalidations.came_since(late, "onX", in_a)
    assert not any(
        (
            invalidations.came_since(early, "onX", in_b),
            invalidations.came_since(early, "onY", in_a),
            invalidations.came_since(early, "onX", None),
        )
    )
    invalidations.match("onX", {"room": "b"})
    invalidations.end(early)
    assert len(invalidations._recent) == 1
    assert invalidations.came_since(late, "onX", in_b)
    invalidations.end(late)
    assert not invalidations._recent
