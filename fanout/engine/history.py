"""What catching up needs to know of the streams' past. Values and a protocol; knows nothing of who keeps it.

The streams are numbered in the order of their names. A *place* is an entry's id in one stream, *places* are one for
each stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fanout.errors import PositionExpired
from fanout.model import Event

Place = tuple[int, int]
Places = tuple[Place, ...]


def find_place(event: Event) -> Place:
    """Where an event is in its stream."""
    ms, _, number = event.id.partition("-")
    return int(ms), int(number)


@dataclass(frozen=True, slots=True)
class Token:
    """A position that a client sent, read but not checked against the streams.

    Args:
        epochs: by stream, see `fanout.bus.epochs`.
        places: everything up to these was delivered, or is not wanted.
    """

    epochs: tuple[bytes, ...]
    places: Places


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the streams found.

    Args:
        ends: the last entry of each stream.
        starts: for each token given, where to begin; for each None the ends; or why it cannot be resumed from.
    """

    ends: Places
    starts: Sequence[Places | PositionExpired]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive entries of one stream.

    Args:
        events: those of them that were delivered live, or would have been, in order.
        reached: everything after the place asked for and up to this one is in it.
    """

    events: Sequence[tuple[Place, Event]]
    reached: Place


class HistoryGone(Exception):  # not an error of anybody's: it is told to those whom it concerns
    """Entries after the place asked for are not in the stream any more."""


class History(Protocol):
    """The streams' past, and how far this gateway has taken them. What waits raises `Unavailable`."""

    def taken(self) -> Places:
        """Up to where this gateway has taken each stream: every event up to there that it was promised, in order, has
        been delivered to whoever was live, and none after it has."""
        ...

    def write_token(self, places: Places) -> bytes:
        """The position that says so, as ASCII."""
        ...

    def find_stream(self, name: str) -> int:
        """The number of a stream."""
        ...

    async def look(self, tokens: Sequence[Token | None]) -> Look:
        """See where the streams are, and from which positions everything is still there."""
        ...

    async def advance(self) -> None:
        """Move `taken` over what was routed and is not for this gateway. It may stay behind: routing takes time."""
        ...

    async def read(self, stream: int, after: Place, up_to: Place) -> Chunk:
        """The next entries after a place, at most up to another one: as many as fit into a bounded chunk.

        Raises:
            HistoryGone: some of them are not there any more.
        """
        ...
