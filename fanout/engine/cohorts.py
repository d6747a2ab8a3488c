"""Who gets an event while catching up: subscriptions that get the same bytes, matched and encoded once.

It is to replays what registry and dispatch are to live events, for the few moments that a subscription takes part in
one. Never waits; knows no history.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fanout.engine.dispatch import Dispatcher, add_position
from fanout.engine.history import Place, Places
from fanout.engine.joining import Joining
from fanout.engine.registry import Group
from fanout.metrics import Metrics
from fanout.model import Event
from filters import FilterIndex

logger = logging.getLogger("fanout.engine")

# About 2 ms: what `flush_in_steps` writes between two turns of the event loop.
_WRITES_PER_STEP = 400


class Left(NamedTuple):
    """One who is left out from now on, because its client is to read first, or is gone.

    Args:
        joining: the subscription.
        place: up to which place of the stream it has got everything, and nothing after it.
        has_got: whether it has got what was offered last.
    """

    joining: Joining
    place: Place
    has_got: bool


class _Cohort:
    """Subscriptions of one group that are at the same place of all streams but the one that is being replayed.

    `payloads` were not written yet; they are of events after `since`.
    """

    __slots__ = ("group", "members", "payloads", "places", "since")

    def __init__(self, group: Group, places: Places, since: Place) -> None:
        self.group = group
        self.places = list(places)
        self.since = since
        self.members: dict[int, dict[Joining, None]] = {}
        self.payloads: list[bytes] = []


class Cohorts:
    """Subscriptions that get events of one stream, each from the moment on that it is added.

    Args:
        stream: the stream's number.
        place: everything up to here has been offered.
        dispatcher: makes payloads.
        write_token: the position for a place in each stream.
        metrics: what is written is counted.
    """

    def __init__(
        self,
        stream: int,
        place: Place,
        dispatcher: Dispatcher,
        write_token: Callable[[Places], bytes],
        metrics: Metrics,
    ) -> None:
        self.stream = stream
        self.place = place
        self._dispatcher = dispatcher
        self._write_token = write_token
        self._metrics = metrics
        self._indexes: dict[str, FilterIndex[Group]] = {}
        self._by_group: dict[Group, dict[Places, _Cohort]] = {}
        self._filled: dict[_Cohort, None] = {}
        self._left: list[Left] = []
        self._writes = 0
        self.pending_bytes = 0
        """Of payloads that `flush` is to write."""

    def __iter__(self) -> Iterator[Joining]:
        for cohorts in self._by_group.values():
            for cohort in cohorts.values():
                for members in cohort.members.values():
                    yield from members

    def add(self, joining: Joining) -> None:
        """Let a subscription get every event offered from now on."""
        group = joining.group
        cohorts = self._by_group.get(group)
        if cohorts is None:
            cohorts = self._by_group[group] = {}
            index = self._indexes.get(group.field)
            if index is None:
                index = self._indexes[group.field] = FilterIndex()
            index.add(group, joining.filter)
        # Their payloads are the same but for the place in the other streams, which positions tell.
        others: Places = ()
        if group.is_positioned and len(joining.places) > 1:
            others = (*joining.places[: self.stream], *joining.places[self.stream + 1 :])
        cohort = cohorts.get(others)
        if cohort is None:
            cohort = cohorts[others] = _Cohort(group, joining.places, self.place)
        else:
            deque(self._write(cohort), maxlen=0)
        cohort.members.setdefault(len(joining.id_bytes), {})[joining] = None

    def offer(self, place: Place, event: Event) -> None:
        """Note an event for all that it matches; `flush` writes it."""
        try:
            self._offer(place, event)
        except Exception:  # our defect with one event must not stop the replay of all others
            logger.exception("event %s (%s) could not be replayed", event.id, event.mutation)
            self._metrics.drops["internal-error"] += 1
        self.place = place

    def flush(self) -> list[Left]:
        """Write what was offered. Returns those who are left out from now on."""
        deque(self.flush_in_steps(), maxlen=0)
        return self.take_left()

    def flush_in_steps(self) -> Iterator[None]:
        """Write what was offered, a bounded number of writes at a time.

        Until it is exhausted nothing may be added or offered; subscriptions may end. `take_left` is to follow.
        """
        for cohort in self._filled:
            yield from self._write(cohort)
        self._filled.clear()
        self.pending_bytes = 0

    def take_left(self) -> list[Left]:
        """Those who are left out from now on."""
        left, self._left = self._left, []
        return left

    @property
    def is_deserted(self) -> bool:
        """Whether nobody is here any more."""
        return all(joining.is_over for joining in self)

    def advance(self, place: Place) -> None:
        """Everything up to a place has been offered and written."""
        self.place = place
        for cohorts in self._by_group.values():
            for cohort in cohorts.values():
                cohort.since = place

    def settle(self) -> None:
        """Tell each subscription where it is now. 0.5 us for each: for the end, not for every chunk."""
        moved: dict[Places, Places] = {}
        for joining in self:
            places = joining.places
            now = moved.get(places)
            if now is None:
                now = moved[places] = (*places[: self.stream], self.place, *places[self.stream + 1 :])
            joining.places = now

    def _offer(self, place: Place, event: Event) -> None:
        payloads: dict[object, bytes] = {}
        positions: dict[Places, bytes] = {}
        for field in self._dispatcher.fields_of(event.mutation):
            index = self._indexes.get(field)
            if index is None:
                continue
            for group in index.match(event.data):
                cohorts = self._by_group[group]
                payload = payloads.get(group.projection)
                if payload is None:
                    payload = payloads[group.projection] = self._dispatcher.build_payload(event, group, 1)
                for cohort in cohorts.values():
                    if not cohort.members:
                        continue
                    if group.is_positioned:
                        cohort.places[self.stream] = place
                        places = tuple(cohort.places)
                        position = positions.get(places)
                        if position is None:
                            position = positions[places] = self._write_token(places)
                        cohort.payloads.append(add_position(payload, position))
                    else:
                        cohort.payloads.append(payload)
                    self.pending_bytes += len(payload)
                    self._filled[cohort] = None

    def _write(self, cohort: _Cohort) -> Iterator[None]:
        count = len(cohort.payloads)
        if count:
            for length, members in cohort.members.items():
                parts = cohort.group.join_parts(cohort.payloads, length)
                for joining in list(members):
                    # Others of the same client may have filled its buffer since this one was looked at last.
                    has_got = not (joining.is_over or joining.is_congested)
                    if has_got:
                        joining.write(joining.id_bytes.join(parts))
                        self._metrics.deliveries += count
                        self._metrics.replayed += count
                        self._writes += 1
                    if not has_got or joining.is_congested:
                        del members[joining]
                        self._left.append(Left(joining, self.place if has_got else cohort.since, has_got))
                    if self._writes >= _WRITES_PER_STEP:
                        self._writes = 0
                        yield
            cohort.payloads.clear()
        cohort.since = self.place
