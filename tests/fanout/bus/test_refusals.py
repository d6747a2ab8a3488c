"""Refusals: told while they last, and forgotten."""

from __future__ import annotations

from fanout.bus.refusals import Refusals


def test_a_refusal_is_news_once_and_told_until_it_is_cleared_or_old() -> None:
    now = 100.0
    refusals = Refusals(lambda: now)
    assert refusals.reason == ""
    assert refusals.note("inbox", ValueError("no"))
    assert not refusals.note("inbox", ValueError("no"))
    assert refusals.note("inbox", ValueError("still no"))
    assert refusals.note("router of s", ValueError("no"))
    assert refusals.reason == "Redis refuses commands of this gateway (inbox, router of s), see its log"
    refusals.clear("inbox")
    refusals.clear("never noted")
    assert refusals.reason == "Redis refuses commands of this gateway (router of s), see its log"
    now += 10.1
    assert refusals.reason == ""
    assert not refusals.note("router of s", ValueError("no"))
    assert refusals.reason != ""
