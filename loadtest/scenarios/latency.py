"""Scenarios of latency: publish to receipt at a rate that does not wait for anybody.

An open loop: each event has a time at which it should be published, whatever happened to those before, and latency is
counted from that time. So a stall counts for all events that it held up (no coordinated omission).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.publisher import publish_at_rate
from loadtest.report import Outcome, judge
from loadtest.scenarios.series import gather_faults
from loadtest.stage import Setting, Stage, play_on_service
from loadtest.swarm import Crowd

_WIDE_RATE = 20.0
_WIDE_P50_MS, _WIDE_P99_MS, _WIDE_MAX_MS = 5, 20, 200


@dataclass(frozen=True, slots=True)
class Latencies:
    """From intended publication to receipt, in ms. `late_ms`: by how much the publisher itself was late at most."""

    receipts: int
    events_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    late_ms: float

    def to_figures(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self)

    def describe(self) -> str:
        """For the table."""
        return f"{self.p50_ms:.1f}, {self.p99_ms:.1f}, {self.max_ms:.1f} ms"


def measure_latencies(
    stage: Stage, draw_room: Callable[[], int], *, events_per_s: float, seconds: float
) -> Latencies | None:
    """Publish at a rate and take each receipt's latency; None if something did not come at all."""
    stage.fleet.keep_latencies()
    _, late_s = publish_at_rate(
        stage.publish,
        lambda intended_ns: stage.draw(draw_room(), intended_ns),
        events_per_s=events_per_s,
        seconds=seconds,
    )
    if stage.await_receipts() is None:
        return None
    taken = sorted(stage.fleet.take_latencies())

    def rank_ms(fraction: float) -> float:
        return taken[min(int(fraction * len(taken)), len(taken) - 1)] / 1e6

    return Latencies(
        len(taken), events_per_s, rank_ms(0.5), rank_ms(0.99), rank_ms(0.999), taken[-1] / 1e6, late_s * 1000
    )


def run_latency(setting: Setting) -> Outcome:
    """20 events a second to 1,000 subscribers of one room."""
    count, seconds = setting.shrink(1_000), max(30 * setting.scale, 0.5)
    with play_on_service(setting, lambda url, key: Crowd(url, key, count)) as (stage, _):
        setting.progress(f"{seconds:.0f} s")
        latencies = measure_latencies(stage, lambda: 0, events_per_s=_WIDE_RATE, seconds=seconds)
        books = stage.close_books()
    faults, examples = gather_faults(books)
    if latencies is None:
        return Outcome("latency", [], {}, faults, examples)
    row = judge(
        "latency",
        f"{count:,} subscribers of one room, {_WIDE_RATE:g} events/s: p50, p99, max",
        latencies.describe(),
        f"<= {_WIDE_P50_MS}, {_WIDE_P99_MS}, {_WIDE_MAX_MS} ms",
        is_met=latencies.p50_ms <= _WIDE_P50_MS
        and latencies.p99_ms <= _WIDE_P99_MS
        and latencies.max_ms <= _WIDE_MAX_MS,
    )
    return Outcome("latency", [row], {"connections": count, "service": latencies.to_figures()}, faults, examples)
