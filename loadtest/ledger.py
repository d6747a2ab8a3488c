"""The books of a load test: what has to arrive where, and what did. Pure; knows no socket, no locust, no clock.

A delivery is *due* to a subscription that was live (its `start_ack` seen) before the publish request was sent and
that has not begun to stop. A subscription that came or went meanwhile may receive the event or not. Everybody may
receive an event once only, only of their own room, and never after one that was published later.

    join ──▶ leave ──▶ forget          a subscription
    begin ──▶ finish | abandon         a publication
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

# A publication is remembered for so many times the patience, so that a late duplicate is still told from a stray.
_MEMORY = 10


class Fault(Enum):
    """What can be wrong with a delivery."""

    MISSING = "missing"
    DUPLICATE = "duplicate"
    STRAY = "stray"
    DISORDERED = "disordered"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The judgement of one delivery: seconds since its publication began (None if unknown), and what is wrong."""

    latency_s: float | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Missing:
    """A delivery that was due and did not come in time."""

    subscription: str
    key: str


@dataclass(slots=True)
class _Subscription:
    room: str
    due: set[str] = field(default_factory=set)
    is_leaving: bool = False
    latest_begin: float = float("-inf")


@dataclass(slots=True)
class _Publication:
    room: str
    begun: float
    due: set[str]
    finished: float | None = None
    received: set[str] = field(default_factory=set)
    is_abandoned: bool = False
    settled: float | None = None


class Ledger:
    """Books of one process. Times are seconds of any one clock, given by the caller.

    Args:
        patience_s: how long after the publish request was answered a delivery may take before it is missing.
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.outstanding = 0
        self._subscriptions: dict[str, _Subscription] = {}
        self._rooms: dict[str, set[str]] = {}
        self._publications: dict[str, _Publication] = {}
        self._unsettled: deque[str] = deque()
        self._remembered: deque[str] = deque()

    def join(self, subscription: str, room: str) -> None:
        """The subscription is live: what is published to `room` from now on is due to it.

        Raises:
            ValueError: a name that is in use; every subscription needs its own.
        """
        if subscription in self._subscriptions:
            raise ValueError(f"subscription {subscription!r} has joined already")
        self._subscriptions[subscription] = _Subscription(room)
        self._rooms.setdefault(room, set()).add(subscription)

    def leave(self, subscription: str) -> None:
        """The subscription is about to be stopped: nothing is due to it any more, what is on its way may come."""
        record = self._subscriptions[subscription]
        record.is_leaving = True
        self._rooms[record.room].discard(subscription)
        for key in record.due:
            self._publications[key].due.discard(subscription)
        self.outstanding -= len(record.due)
        record.due.clear()

    def forget(self, subscription: str) -> None:
        """The subscription has ended: whatever comes for it from now on is a stray."""
        if not self._subscriptions[subscription].is_leaving:
            self.leave(subscription)
        del self._subscriptions[subscription]

    def begin(self, key: str, room: str, now: float) -> None:
        """A publish request is about to be sent. Cost: linear in the subscriptions of the room.

        Raises:
            ValueError: a key that was used before.
        """
        if key in self._publications:
            raise ValueError(f"publication {key!r} has begun already")
        due = set(self._rooms.get(room, ()))
        self._publications[key] = _Publication(room, now, due)
        for subscription in due:
            self._subscriptions[subscription].due.add(key)
        self.outstanding += len(due)
        self._unsettled.append(key)
        self._remembered.append(key)

    def finish(self, key: str, now: float) -> None:
        """The publish request was answered with success: its deliveries are missing after the patience."""
        publication = self._publications.get(key)
        if publication is not None:
            publication.finished = now

    def abandon(self, key: str) -> None:
        """The publish request failed: its event may have been published or not, so nothing is due."""
        publication = self._publications.get(key)
        if publication is not None:
            self._clear_due(key, publication)
            publication.is_abandoned = True

    def receive(self, subscription: str, key: str, now: float) -> Receipt:
        """Book one delivery and judge it."""
        record = self._subscriptions.get(subscription)
        publication = self._publications.get(key)
        if record is None or publication is None or publication.room != record.room:
            return Receipt(None, Fault.STRAY)
        latency_s = now - publication.begun
        if subscription in publication.received:
            return Receipt(latency_s, Fault.DUPLICATE)
        publication.received.add(subscription)
        if key in record.due:
            record.due.discard(key)
            publication.due.discard(subscription)
            self.outstanding -= 1
        # Published before the other one's request was even sent, yet received after it.
        is_disordered = publication.finished is not None and publication.finished < record.latest_begin
        record.latest_begin = max(record.latest_begin, publication.begun)
        return Receipt(latency_s, Fault.DISORDERED if is_disordered else None)

    def overdue(self, now: float) -> list[Missing]:
        """What has become missing since the last call; each once. Also forgets old publications."""
        missing: list[Missing] = []
        waiting: deque[str] = deque()
        for key in self._unsettled:
            publication = self._publications[key]
            is_in_time = publication.finished is None or now - publication.finished < self.patience_s
            if is_in_time and not publication.is_abandoned:
                waiting.append(key)
                continue
            missing.extend(Missing(subscription, key) for subscription in sorted(publication.due))
            self._clear_due(key, publication)
            publication.settled = now
        self._unsettled = waiting
        self._forget_old(now)
        return missing

    def _clear_due(self, key: str, publication: _Publication) -> None:
        for subscription in publication.due:
            self._subscriptions[subscription].due.discard(key)
        self.outstanding -= len(publication.due)
        publication.due.clear()

    def _forget_old(self, now: float) -> None:
        while self._remembered:
            publication = self._publications[self._remembered[0]]
            if publication.settled is None or now - publication.settled < _MEMORY * self.patience_s:
                return
            del self._publications[self._remembered.popleft()]
