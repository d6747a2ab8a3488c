"""What the connections of one process know together of a Redis Cluster: its map of slots. Opens no connection.

Whoever asks a server for the map hands it in here; so one refresh serves all connections. That an owner was followed
by its replica is found by comparing maps, and told once.
"""

from __future__ import annotations

from collections.abc import Callable

from fanout.bus.slots import Address, SlotMap, SlotRange


class Topology:
    """The present map. One per `Endpoint`; changed on the event loop only."""

    def __init__(self) -> None:
        self.is_known = False
        """Whether it was found out if this is a cluster at all."""
        self.map: SlotMap | None = None
        """None: a single server."""
        self.is_stale = False
        """Something did not fit the map: read it again before the next call."""
        self.failed_over: Callable[[frozenset[int]], None] = _do_nothing
        """Called with the slots that a replica has taken over: the last writes to them may be lost."""
        self._moved: dict[int, Address] = {}

    def set_single(self) -> None:
        """It is a single server."""
        self.is_known = True

    def update(self, ranges: list[SlotRange]) -> None:
        """Take a map that a server has told."""
        self.is_known = True
        self.is_stale = False
        self._moved.clear()
        if self.map is not None and self.map.ranges == tuple(ranges):
            return
        new, old = SlotMap(ranges), self.map
        if old is None:
            self.map = new
            return
        self.map = new.fill_in(old)
        if failed_over := self.map.find_failed_over(old):
            self.failed_over(failed_over)

    def find_owner(self, slot: int) -> Address | None:
        """The server to ask about a slot; None if nobody is known to own it."""
        if (moved := self._moved.get(slot)) is not None:
            return moved
        owner = self.map.owner(slot) if self.map is not None else None
        return owner.address if owner is not None else None

    def note_moved(self, slot: int, address: Address) -> None:
        """A server has said who owns a slot now. The map is read again too: slots seldom move alone."""
        self._moved[slot] = address
        self.is_stale = True


def _do_nothing(_: frozenset[int]) -> None:
    pass
