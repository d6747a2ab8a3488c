"""Scenarios of latency: publish to receipt at a rate that does not wait for anybody.

An open loop: each event has a time at which it should be published, whatever happened to those before, and latency is
counted from that time. So a stall counts for all events that it held up (no coordinated omission).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.measure import bound_percentile, read_histogram
from loadtest.publisher import publish_at_rate
from loadtest.report import Outcome, Row, judge
from loadtest.scenarios.series import gather_faults
from loadtest.stage import Setting, Stage, play_on_service
from loadtest.swarm import Crowd

_WRITTEN = "fanout_publish_to_write_seconds"
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


class GatewayShare:
    """How much of the latencies is the service's, from XADD to its last write, by its own count.

    What is above that is waiting on the core that clients, publisher and Redis share. Counts from when it is made.

    Args:
        url: of the service.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._before = read_histogram(url, _WRITTEN)

    def to_row(self, scenario: str) -> Row:
        """For the table: bounds of p50, p99 and p99.9 until now."""
        after = read_histogram(self._url, _WRITTEN)
        bounds = [bound_percentile(self._before, after, fraction) for fraction in (0.5, 0.99, 0.999)]
        told = ", ".join("-" if bound is None else f"{bound * 1000:g}" for bound in bounds)
        what = "of that, XADD to the gateway's last write, by its own count: p50, p99, p99.9"
        return Row(scenario, what, f"<= {told} ms")


def run_latency(setting: Setting) -> Outcome:
    """20 events a second to 1,000 subscribers of one room."""
    count, seconds = setting.shrink(1_000), max(30 * setting.scale, 0.5)
    with play_on_service(setting, lambda url, key: Crowd(url, key, count)) as (stage, service):
        setting.progress(f"{seconds:.0f} s")
        share = GatewayShare(service.url)
        latencies = measure_latencies(stage, lambda: 0, events_per_s=_WIDE_RATE, seconds=seconds)
        shown = share.to_row("latency")
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
    return Outcome("latency", [row, shown], {"connections": count, "service": latencies.to_figures()}, faults, examples)
