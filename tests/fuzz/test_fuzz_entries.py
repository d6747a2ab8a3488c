"""Any fields of a stream entry, by any publisher: an event or `Malformed`; and no event's data upsets delivery."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.bus.entries import (
    Malformed,
    Note,
    dead_letter_fields,
    inbox_fields,
    parse_event,
    parse_inbox_entry,
)
from fanout.model import Event
from tests.fanout.protocol.judge import read_frames
from tests.fuzz.effort import fuzzed
from tests.fuzz.strategies import event_data, event_mutations
from tests.fuzz.wire import Client, Wire, WireRunner


def flatten(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Names and values in turn, as Redis answers them."""
    return [part for pair in pairs for part in pair]


names = st.sampled_from([b"mutation", b"data", b"id", b"at", b"s", b"i", b"m", b"d", b"a", b"note"]) | st.binary(
    max_size=3
)
values = st.one_of(
    st.sampled_from([b"createMessage", b"{}", b"1", b"1-1", b"1_0", "²".encode(), b"-1", b"0", b"hello", b"[" * 2000]),
    event_data.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=20),
)
arbitrary_fields = st.lists(st.tuples(names, values), max_size=7).map(flatten)
near_events = st.fixed_dictionaries(
    {b"mutation": event_mutations.map(str.encode) | values, b"data": values},
    optional={b"id": values, b"at": values | st.integers().map(lambda number: b"%d" % number)},
).map(lambda members: flatten(members.items()))


@fuzzed
@given(arbitrary_fields | near_events)
def test_any_entry_is_an_event_or_malformed(fields: list[bytes]) -> None:
    try:
        event, key = parse_event(b"1700000000000-3", fields)
    except Malformed as malformed:
        dead_letter_fields(str(malformed), fields)
        return
    assert event.id == "1700000000000-3"
    assert event.mutation
    assert len(key) <= 1024
    forwarded = [part if isinstance(part, bytes) else str(part).encode() for part in inbox_fields("s", event)]
    assert parse_inbox_entry(forwarded) == ("s", event)


@fuzzed
@given(arbitrary_fields)
def test_any_inbox_entry_is_read_or_malformed(fields: list[bytes]) -> None:
    try:
        parsed = parse_inbox_entry(fields)
    except Malformed:
        return
    assert isinstance(parsed, Note) or isinstance(parsed[1], Event)


@pytest.fixture(scope="module")
def wired() -> Iterator[WireRunner]:
    runner = WireRunner()
    yield runner
    runner.close()


QUERY = """subscription($filter: AWSJSON) { onMessageEvent(filter: $filter) {
  __typename id roomId kind priority tags createdAt attachments { url sizeBytes } context { userId metadata } } }"""


@fuzzed
@given(st.lists(st.tuples(event_mutations, event_data), min_size=1, max_size=5))
def test_any_data_is_delivered_as_data_or_errors(wired: WireRunner, events: list[tuple[str, object]]) -> None:
    async def deliver(wire: Wire) -> None:
        client = Client(wire)
        client.open("/graphql", "graphql-transport-ws", "header-eyJ4LWFwaS1rZXkiOiJkYTItdGVzdC1hcGkta2V5In0")
        client.say({"type": "connection_init"})
        client.say({"type": "subscribe", "id": "1", "payload": {"query": QUERY}})
        await wire.settle()
        client.take_written()
        for mutation, data in events:
            wire.deliver(data, mutation=mutation)
        messages = [orjson.loads(frame.data) for frame in read_frames(client.take_written())]
        assert [message["type"] for message in messages] == ["next"] * len(events)
        for message in messages:
            assert set(message["payload"]) <= {"data", "errors"}
            assert "InternalError" not in str(message)
        client.lose()
        await wire.settle()
        wire.check_bystander()
        wire.check_only_bystander_left()

    wired.run(deliver)
