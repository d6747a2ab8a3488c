"""What is counted: plain integers, cheap enough for hot paths (0.05 us each). Knows no room.

One `Metrics` exists per gateway process; the rooms add to it and `fanout.web.exposition` shows it to Prometheus.
docs/operations.md says what each one means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from fanout.model import DialectName

LATENCY_BOUNDS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Counts of observations per bucket with the upper `bounds` (inclusive) in seconds, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BOUNDS_SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Record `times` observations of the same value."""
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.sum += seconds * times


@dataclass(slots=True)
class Metrics:
    """Counters (only growing) and gauges (marked) of one gateway process."""

    # Gauges
    connections: Counter[DialectName] = field(default_factory=Counter)
    """Open WebSocket connections by dialect."""
    subscriptions: int = 0
    """Live subscriptions."""
    groups: int = 0
    """Distinct (field, filter, selection, framing) among them."""
    buckets: int = 0
    """Buckets that this gateway is registered in."""
    routed_streams: int = 0
    """Streams whose lease this gateway holds."""

    # Counters
    connects: int = 0
    """WebSocket upgrades accepted."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Upgrades, initialisations, subscriptions and HTTP requests refused, by reason."""
    closes: Counter[str] = field(default_factory=Counter)
    """Connections closed, by reason: `CloseReason.label`, `client` (its close frame), `lost` (no close frame)."""
    events_in: int = 0
    """Events taken by this gateway for delivery, by itself as the router or from its inbox."""
    events_matched: int = 0
    """Events of these that at least one subscription matched."""
    deliveries: int = 0
    """Messages written to subscribers."""
    drops: Counter[str] = field(default_factory=Counter)
    """Payloads or events not delivered, by reason."""
    events_routed: int = 0
    """Events read from streams by this gateway as their router."""
    events_forwarded: int = 0
    """Events appended to other gateways' inboxes."""
    events_published: int = 0
    """Events appended to a stream by way of this gateway's HTTP side."""
    dead_letters: int = 0
    """Malformed entries put aside."""
    duplicates: int = 0
    """Events dropped because their idempotency key was seen before."""
    paths_over_limit: int = 0
    """Registrations placed in the catch-all bucket because their field had `max_indexed_paths` paths in use."""
    missed: Counter[str] = field(default_factory=Counter)
    """Times that this gateway had to tell its clients that events may have been missed, by reason."""
    resumes: int = 0
    """Subscriptions that began after a position that their client gave."""
    entries_replayed: int = 0
    """Stream entries read again for those who resume; each serves all of them."""
    replayed: int = 0
    """Messages written to subscribers from the streams' past, counted in `deliveries` too."""
    subscriptions_ended: Counter[str] = field(default_factory=Counter)
    """Subscriptions ended by the service one by one, by reason; not those that end with their connection."""
    admin_calls: Counter[str] = field(default_factory=Counter)
    """Calls of the admin API that this gateway answered, by what was asked for."""
    reloads: Counter[str] = field(default_factory=Counter)
    """Times that configuration and schema were read again, by outcome: `applied`, or `refused` for an error."""
    resolutions: Counter[str] = field(default_factory=Counter)
    """Fields that resolvers were run for, by what came of it: `value`, `error` (it said so), `failure` (it threw
    something), `limit`, `unavailable` (too many calls), `cancelled` (the request's time was over)."""
    data_source_failures: Counter[str] = field(default_factory=Counter)
    """Requests of resolvers that a data source failed, by its name."""
    publish_to_write: Histogram = field(default_factory=Histogram)
    """Seconds from an event's publish time to its last write, one observation per delivery."""
