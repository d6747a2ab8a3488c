"""What identifies subscriptions, rooms and events of a benchmark. Pure; knows no socket.

Everything is derivable from numbers, so that a client keeps no strings: subscription number s has an id of the length
of Amplify's UUIDs and listens to room s modulo the number of rooms. An event's `content` says which of its room it is.
"""

from __future__ import annotations

from typing import NamedTuple

EVERYBODY = -1
"""The room that every subscription hears besides its own, where a fleet is told so."""

ID_BYTES = 36
ID_FORMAT = b"%08x-0000-4000-8000-000000000000"
"""Of a subscription's number; all ids have one length, as UUIDs do."""

_PADDING = "x" * 60  # so that a message has a usual size, about 300 bytes on the wire


class Mark(NamedTuple):
    """What an event says of itself.

    `room`, and `sequence` in that room from 1 on; `intended_ns` is when it should have been published, on the
    machine's monotonic clock, 0 where nobody asks.
    """

    room: int
    sequence: int
    intended_ns: int


def build_id(subscription: int) -> str:
    """The id of a subscription by its number."""
    return (ID_FORMAT % subscription).decode()


def read_id(id: str) -> int:
    """The number of the subscription with this id.

    Raises:
        ValueError: no id of `build_id`.
    """
    number = int(id[:8], 16)
    if id != build_id(number):
        raise ValueError(f"{id!r} is no id of ours")
    return number


def name_room(room: int) -> str:
    """The `roomId` of a room by its number; all but everybody's have one length."""
    return "everybody" if room == EVERYBODY else f"room-{room:06d}"


def build_key(mark: Mark) -> str:
    """The `content` of an event."""
    return f"{mark.room}/{mark.sequence}/{mark.intended_ns}/{_PADDING}"


def read_key(key: str) -> Mark:
    """The mark in an event's `content`.

    Raises:
        ValueError: no content of `build_key`.
    """
    room, sequence, intended_ns, _ = key.split("/")
    return Mark(int(room), int(sequence), int(intended_ns))


def count_members(room: int, rooms: int, first: int, after: int) -> int:
    """How many subscriptions with numbers from `first` to before `after` listen to a room of so many."""
    if room == EVERYBODY:
        return after - first
    return len(range(first + (room - first) % rooms, after, rooms))
