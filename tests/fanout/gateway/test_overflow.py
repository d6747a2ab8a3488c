"""What groups with a policy keep, and the marker that tells how many events were left out."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.streams import StreamReader

from fanout.engine.dispatch import add_position
from fanout.gateway.overflow import Keeper, add_dropped, name_policy, read_value
from fanout.model import Overflow, OverflowPolicy
from fanout.protocol import APPSYNC, join_parts

LATEST = Overflow(OverflowPolicy.LATEST, ("room", "id"))
DROP_OLDEST = Overflow(OverflowPolicy.DROP_OLDEST)


def join(payloads: object, id_length: int) -> list[bytes]:
    return join_parts(payloads, APPSYNC, id_length)  # type: ignore[arg-type]


def write(value: object) -> bytes:
    return orjson.dumps({"data": {"onX": value}})


@pytest.mark.parametrize(
    ("payload", "path", "expected"),
    [
        (write({"a": 1}), ("a",), b"1"),
        (write({"a": "1"}), ("a",), b'"1"'),
        (write({"a": True}), ("a",), b"true"),
        (write({"a": {"y": 1, "x": 2}}), ("a",), b'{"x":2,"y":1}'),
        (write({"a": {"b": None}}), ("a", "b"), b"null"),
        (write({"a": [1]}), ("a", "b"), b"null"),
        (write({}), ("a",), b"null"),
        (write(None), ("a",), b"null"),
        (write({"a": 1}), (), b"null"),
        (b'{"data":null,"errors":[]}', ("a",), b"null"),
    ],
)
def test_the_value_that_is_kept_apart(payload: bytes, path: tuple[str, ...], expected: bytes) -> None:
    assert read_value(payload, path) == expected


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text()), st.integers(1, 10**9), st.booleans())
def test_the_marker_adds_itself_and_changes_nothing_else(
    value: dict[str, object], dropped: int, is_positioned: bool
) -> None:
    payload = write(str(value))
    if is_positioned:
        payload = add_position(payload, b"MTIzLTQ")
    expected = orjson.loads(payload)
    expected.setdefault("extensions", {}).setdefault("fanout", {})["dropped"] = dropped
    assert orjson.loads(add_dropped(payload, dropped)) == expected


def test_policies_and_paths_make_groups_of_their_own() -> None:
    names = {
        name_policy(overflow)
        for overflow in (
            Overflow(),
            Overflow(OverflowPolicy.DROP_OLDEST),
            Overflow(OverflowPolicy.LATEST),
            Overflow(OverflowPolicy.LATEST, ("a",)),
            Overflow(OverflowPolicy.LATEST, ("a", "b")),
        )
    }
    assert len(names) == 5
    assert name_policy(Overflow()) == ""


def test_a_batch_is_kept_while_it_is_written_and_its_values_are_read_once() -> None:
    noted: list[Keeper] = []
    keeper = Keeper(join, LATEST, noted.append)
    first, second = [write({"room": {"id": 1}})], [write({"room": {"id": 2}}), write({"room": None})]
    assert keeper(first, 3) == join(first, 3)
    assert keeper(second, 3) == join(second, 3)
    assert noted == [keeper]
    assert keeper.batch == second
    assert keeper.keys == [b"2", b"null"]
    keys = keeper.keys
    keeper(second, 5)  # the same batch, for ids of another length
    assert keeper.keys is keys
    keeper.let_go()
    assert (keeper.batch, keeper.keys) == ((), [])
    keeper(first, 5)
    assert noted == [keeper, keeper]


def test_a_frame_for_one_subscriber() -> None:
    keeper = Keeper(join, DROP_OLDEST, lambda keeper: None)
    assert read_frame(keeper.build_frame(write(1), 0, b'"id"')) == {
        "type": "data",
        "id": "id",
        "payload": {"data": {"onX": 1}},
    }
    assert read_frame(keeper.build_frame(write(1), 7, b'"id"'))["payload"] == {
        "data": {"onX": 1},
        "extensions": {"fanout": {"dropped": 7}},
    }


def read_frame(data: bytes) -> dict[str, object]:
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parser)
    except StopIteration as stop:
        message = orjson.loads(stop.value.data)
    assert isinstance(message, dict)
    return message


@pytest.mark.parametrize(
    "payload",
    [
        {"data": {"x": 1, "extensions": {"fanout": {"position": "p"}}}},
        {"data": {"onX": {"x": 1, "extensions": {"fanout": {"position": "p"}}}}},
        {"data": None, "errors": [{"a": 1, "extensions": {"fanout": {"position": "p"}}}]},
        {"data": {"onX": ',"extensions":{"fanout":{"position":"p"}}}'}},
    ],
)
def test_what_only_looks_like_a_position_is_left_alone(payload: dict[str, object]) -> None:
    told = orjson.loads(add_dropped(orjson.dumps(payload), 3))
    assert told == {**payload, "extensions": {"fanout": {"dropped": 3}}}
