"""A subscription on its way to live: where it is in the streams, and what it needs of its client."""

from __future__ import annotations

from abc import ABC, abstractmethod

from fanout.engine.history import Places, Token
from fanout.engine.registry import Group
from fanout.errors import ClientFault
from filters import Filter


class Joining(ABC):
    """One subscription that is to begin at a position, or to be told where it begins.

    Its group's buckets are registered already. It belongs to `CatchUp` until it was refused, has gone live, has missed
    something, or was left (`is_over`). It is told in this order: `refuse`, or else `begin`, then writes, then
    `go_live`; and `miss` in place of any of these, as the last.

    Args:
        group: its group; not a member yet.
        filter: its filter.
        id_bytes: as in `Subscription`.
        after: the position to begin at; None: the present.
    """

    __slots__ = ("after", "ends", "filter", "group", "id_bytes", "is_over", "places")

    def __init__(self, group: Group, filter: Filter, id_bytes: bytes, after: Token | None) -> None:
        self.group = group
        self.filter = filter
        self.id_bytes = id_bytes
        self.after = after
        self.places: Places = ()
        """It has got everything up to these, and nothing after them."""
        self.ends: Places = ()
        """Where the streams ended at a moment when its buckets were registered."""
        self.is_over = False

    @abstractmethod
    def begin(self, position: bytes) -> None:
        """It is accepted: acknowledge it, with the position where it begins."""

    @abstractmethod
    def refuse(self, fault: ClientFault) -> None:
        """It is not accepted."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Write frames to its client. Never waits."""

    @property
    @abstractmethod
    def is_congested(self) -> bool:
        """Whether its client is to read first what was written. `CatchUp.wake` is called when that has changed."""

    @abstractmethod
    def go_live(self) -> None:
        """Make it a member of its group: from now on it gets what the gateway takes."""

    @abstractmethod
    def miss(self, reason: str) -> None:
        """It cannot go on without a gap: end it, and tell the reason."""
