"""The one door through which events reach this gateway's delivery: in stream order, each once. Hot module.

Events come from this gateway's own router or from its inbox, and after a router's death from both, or twice. What each
router brings is in stream order and lacks nothing that this gateway was promised; so it is enough to drop what is not
above the last id taken. Knows nothing of Redis.
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
        self.rebased = 0
        """How often `start_at` was called: what was found out about a stream before that is not true any more."""

    def last(self, stream: str) -> EntryId:
        """The id of the last event taken, or where the stream was when this gateway joined."""
        return self._last.get(stream, START)

    def start_at(self, stream: str, last: EntryId) -> None:
        """Take only what comes after `last`: what is older was published before any present subscriber's ack."""
        self._last[stream] = last
        self.rebased += 1

    def advance(self, stream: str, reached: EntryId) -> None:
        """Count everything up to an entry as taken: all routers have done with it, and what of it was for this
        gateway was taken."""
        self._last[stream] = max(self.last(stream), reached)

    def take(self, stream: str, events: list[Event]) -> None:
        """Deliver those of `events` that were not taken yet. Never awaits.

        Args:
            stream: the event stream.
            events: as one way brought them. Two routers may have written to an inbox in turn, each in stream order,
                so all together need not be.

        Whatever `deliver` raises passes through; the events count as taken then, so that they are not tried again.
        """
        last = self.last(stream)
        fresh = []
        for event in events:
            entry_id = parse_id(event.id)
            if entry_id > last:
                last = entry_id
                fresh.append(event)
        if not fresh:
            return
        self._last[stream] = last
        self._metrics.events_in += len(fresh)
        self._deliver(stream, fresh)
