"""Stream entries and events: the public format, and the one of inboxes. Hot module: one call per event.

Knows nothing of connections. The event stream's format is the contract with mutation services (docs/protocols.md):
fields `mutation` and `data`, optionally `id` (idempotency key) and `at` (ms). What does not follow it is `Malformed`.
In an inbox an event keeps its stream and id; besides events there are notes from one gateway's router to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from fanout.bus.client import Argument
from fanout.model import Event, NewEvent

DescribeMismatch = Callable[[str, object], str]
"""Why data cannot be the result of a mutation; empty if it can be."""

_LONGEST_DEAD_VALUE_BYTES = 4096
_MOST_DEAD_FIELDS = 16
_LONGEST_KEY_BYTES = 1024


class Malformed(ValueError):
    """An entry that is not an event; the text says what is wrong, for the publisher to read."""


class EntryId(NamedTuple):
    """A stream entry's id, in the order of the stream."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


START = EntryId(0, 0)
"""Before the first entry of any stream."""


@dataclass(frozen=True, slots=True)
class Note:
    """A message between gateways about a stream, in order with its events.

    Args:
        kind: one of the constants below.
        stream: the stream it is about; empty for `HELLO`.
        id: `TRIMMED`: all that was lost came before this entry; `REPLACED`: the entry after which reading goes on.
    """

    kind: str
    stream: str = ""
    id: EntryId = START


HELLO = "hello"
"""First entry of an inbox: makes it exist."""
TRIMMED = "trimmed"
"""Entries of the stream were gone before the router read them."""
REPLACED = "replaced"
"""The stream is not the one that was read so far: it was deleted, or Redis lost its data."""
RELEASED = "released"
"""The router has given up the stream's lease."""


def parse_id(text: bytes | str) -> EntryId:
    """The id of a stream entry as Redis writes it."""
    ms, _, number = text.partition(b"-") if isinstance(text, bytes) else text.encode().partition(b"-")
    return EntryId(int(ms), int(number or 0))


def event_fields(event: NewEvent) -> list[Argument]:
    """The fields of a new entry of the event stream."""
    fields: list[Argument] = ["mutation", event.mutation, "data", event.data]
    if event.key:
        fields += ["id", event.key]
    if event.at_ms:
        fields += ["at", event.at_ms]
    return fields


def parse_event(
    entry_id: bytes, fields: Sequence[bytes], describe_mismatch: DescribeMismatch | None = None
) -> tuple[Event, str]:
    """Read an entry of the event stream.

    Args:
        entry_id: as Redis writes it.
        fields: names and values in turn.
        describe_mismatch: says why data cannot be a mutation's result.

    Returns:
        The event, and its idempotency key or an empty string.

    Raises:
        Malformed: a missing field, data that is not JSON or cannot be the mutation's result, text that is not UTF-8,
            an `at` that is no number of ms.
    """
    values = _by_name(fields)
    mutation, data = values.get(b"mutation"), values.get(b"data")
    if not mutation:
        raise Malformed("field 'mutation' is missing or empty")
    if data is None:
        raise Malformed("field 'data' is missing")
    key = values.get(b"id", b"")
    if len(key) > _LONGEST_KEY_BYTES:
        raise Malformed(f"field 'id' is longer than {_LONGEST_KEY_BYTES} bytes")
    at = values.get(b"at")
    try:
        event, text = _event(entry_id, mutation, data, at), key.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8: {error.reason}") from None
    if describe_mismatch is not None and (mismatch := describe_mismatch(event.mutation, event.data)):
        raise Malformed(f"field 'data' does not fit: {mismatch}")
    return event, text


def inbox_fields(stream: str, event: Event) -> list[Argument]:
    """The fields of an inbox entry for an event."""
    return ["s", stream, "i", event.id, "m", event.mutation, "d", event.raw, "a", event.at_ms]


def note_fields(note: Note) -> list[Argument]:
    """The fields of an inbox entry for a note."""
    return ["note", note.kind, "s", note.stream, "i", str(note.id)]


def parse_inbox_entry(fields: Sequence[bytes]) -> tuple[str, Event] | Note:
    """Read an inbox entry: an event with its stream, or a note.

    Raises:
        Malformed: an entry that no router of ours wrote.
    """
    values = _by_name(fields)
    try:
        if (kind := values.get(b"note")) is not None:
            return Note(kind.decode(), values[b"s"].decode(), parse_id(values[b"i"]))
        return values[b"s"].decode(), _event(values[b"i"], values[b"m"], values[b"d"], values[b"a"])
    except KeyError as error:
        raise Malformed(f"field {error} is missing") from None
    except ValueError as error:  # also UnicodeDecodeError and Malformed
        raise Malformed(str(error)) from None


def dead_letter_fields(reason: str, fields: Sequence[bytes]) -> list[Argument]:
    """The fields of a dead-letter entry: why, and the first fields of the original, each cut to 4 KB."""
    kept = [value[:_LONGEST_DEAD_VALUE_BYTES] for value in fields[: 2 * _MOST_DEAD_FIELDS]]
    return ["error", reason, *kept]


def _by_name(fields: Sequence[bytes]) -> dict[bytes, bytes]:
    pairs: Iterator[bytes] = iter(fields)
    return dict(zip(pairs, pairs, strict=True))


def _event(entry_id: bytes, mutation: bytes, data: bytes, at: bytes | None) -> Event:
    if at is None:
        at_ms = int(entry_id.partition(b"-")[0])
    elif at.isdigit() and len(at) <= 15:
        at_ms = int(at)
    else:
        raise Malformed("field 'at' is not a number of milliseconds since 1970")
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"field 'data' is not JSON: {error}") from None
    return Event(entry_id.decode(), mutation.decode(), parsed, data, at_ms)
