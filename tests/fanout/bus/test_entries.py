"""Formats of entries: what is written is read again, and anything else is malformed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanout.bus.client import Argument
from fanout.bus.entries import (
    HELLO,
    EntryId,
    Malformed,
    Note,
    dead_letter_fields,
    event_fields,
    inbox_fields,
    note_fields,
    parse_event,
    parse_id,
    parse_inbox_entry,
)
from fanout.model import Event, NewEvent

# A busy machine is no reason to fail.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=8,
)
IDS = st.builds(EntryId, st.integers(0, 2**47), st.integers(0, 2**63))
FIELD_NAMES = st.sampled_from([b"mutation", b"data", b"id", b"at", b"s", b"i", b"m", b"d", b"a", b"note"])


def on_the_wire(fields: list[Argument]) -> list[bytes]:
    """Fields as Redis gives them back."""
    return [field if isinstance(field, bytes) else str(field).encode() for field in fields]


@relaxed
@given(IDS, TEXTS.filter(bool), JSON, TEXTS, st.integers(0, 10**14))
def test_an_event_that_is_published_is_read_again(
    entry_id: EntryId, mutation: str, data: Any, key: str, at_ms: int
) -> None:
    raw = orjson.dumps(data)
    fields = on_the_wire(event_fields(NewEvent(mutation, raw, key, at_ms)))
    event, read_key = parse_event(str(entry_id).encode(), fields)
    assert event == Event(str(entry_id), mutation, data, raw, at_ms or entry_id.ms)
    assert read_key == key


@relaxed
@given(IDS, TEXTS.filter(bool), TEXTS, JSON, st.integers(0, 10**14))
def test_an_event_that_is_forwarded_is_the_same(
    entry_id: EntryId, stream: str, mutation: str, data: Any, at_ms: int
) -> None:
    event = Event(str(entry_id), mutation, data, orjson.dumps(data), at_ms)
    assert parse_inbox_entry(on_the_wire(inbox_fields(stream, event))) == (stream, event)


@relaxed
@given(st.sampled_from([HELLO, "trimmed", "replaced"]), TEXTS, IDS)
def test_a_note_is_read_again(kind: str, stream: str, entry_id: EntryId) -> None:
    note = Note(kind, stream, entry_id)
    assert parse_inbox_entry(on_the_wire(note_fields(note))) == note


@relaxed
@given(st.lists(st.tuples(FIELD_NAMES | st.binary(max_size=3), st.binary(max_size=12)), max_size=6))
def test_anything_is_an_event_or_malformed(pairs: list[tuple[bytes, bytes]]) -> None:
    fields = [part for pair in pairs for part in pair]
    for parse in (lambda: parse_event(b"5-0", fields), lambda: parse_inbox_entry(fields)):
        try:
            assert parse()
        except Malformed:
            pass


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "'mutation' is missing"),
        ([b"mutation", b"", b"data", b"1"], "'mutation' is missing or empty"),
        ([b"mutation", b"m"], "'data' is missing"),
        ([b"mutation", b"m", b"data", b""], "not JSON"),
        ([b"mutation", b"m", b"data", b"NaN"], "not JSON"),
        ([b"mutation", b"m", b"data", b'"\xff"'], "not JSON"),
        ([b"mutation", b"\xff", b"data", b"1"], "not UTF-8"),
        ([b"mutation", b"m", b"data", b"1", b"at", b"-1"], "'at' is not a number"),
        ([b"mutation", b"m", b"data", b"1", b"at", b"1_0"], "'at' is not a number"),
        ([b"mutation", b"m", b"data", b"1", b"at", b"9" * 16], "'at' is not a number"),
        ([b"mutation", b"m", b"data", b"1", b"id", b"k" * 1025], "'id' is longer"),
        ([b"mutation", b"m", b"data", b"[" * 5000 + b"]" * 5000], "not JSON"),
    ],
)
def test_malformed_entries_say_what_is_wrong(fields: list[bytes], text: str) -> None:
    with pytest.raises(Malformed, match=text):
        parse_event(b"5-0", fields)


@relaxed
@given(IDS, IDS)
def test_ids_are_ordered_as_in_the_stream(one: EntryId, other: EntryId) -> None:
    assert parse_id(str(one)) == parse_id(str(one).encode()) == one
    assert (one < other) == ((one.ms, one.number) < (other.ms, other.number))


def test_dead_letters_are_bounded() -> None:
    fields = dead_letter_fields("why", [b"x" * 10_000] * 1000)
    assert fields[:2] == ["error", "why"]
    assert len(fields) == 2 + 32
    assert sum(len(str(field)) for field in fields) < 32 * 4200
