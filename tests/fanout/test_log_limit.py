"""The limit of log lines: so many in a period, the others counted."""

from __future__ import annotations

from fanout.log_limit import LogLimit


def test_lines_are_held_back_and_their_number_is_told_with_the_next() -> None:
    now = 0.0
    limit = LogLimit(lines=3, period_s=60, now=lambda: now)
    assert [limit.admit() for _ in range(5)] == [0, 0, 0, None, None]
    now = 59.9
    assert limit.admit() is None
    now = 60.0
    assert [limit.admit() for _ in range(4)] == [3, 0, 0, None]
    now = 1000.0
    assert limit.admit() == 1
