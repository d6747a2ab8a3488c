"""The one door through which events reach this gateway's delivery: in stream order, each once. Hot module.

Events come from this gateway's own router or from its inbox, and after a router's death from both or twice. Each of
these ways is in stream order and complete by itself, so it is enough to drop what is not above the last id taken.
Knows nothing of Redis.
"""

from __future__ import annotations

from collections.abc import Callable

from fanout.bus.entries import START, EntryId, parse_id
from fanout.metrics import Metrics
from fanout.model import Event


class Intake:
    """Takes events for one gateway.

    Args:
        deliver: called with a stream and its next events, never with an id twice.
        metrics: `events_in` is counted.
    """

    def __init__(self, deliver: Callable[[str, list[Event]], None], metrics: Metrics) -> None:
        self._deliver = deliver
        self._metrics = metrics
        self._last: dict[str, EntryId] = {}

    def last(self, stream: str) -> EntryId:
        """The id of the last event taken, or where the stream was when this gateway joined."""
        return self._last.get(stream, START)

    def start_at(self, stream: str, last: EntryId) -> None:
        """Take only what comes after `last`: what is older was published before any present subscriber's ack."""
        self._last[stream] = last

    def take(self, stream: str, events: list[Event]) -> None:
        """Deliver those of `events`, which are in stream order, that were not taken yet. Never awaits.

        Whatever `deliver` raises passes through; the events count as taken then, so that they are not tried again.
        """
        last = self.last(stream)
        start = 0
        while start < len(events) and parse_id(events[start].id) <= last:
            start += 1
        if start == len(events):
            return
        fresh = events[start:] if start else events
        self._last[stream] = parse_id(fresh[-1].id)
        self._metrics.events_in += len(fresh)
        self._deliver(stream, fresh)
