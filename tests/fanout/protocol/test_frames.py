from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Close, Opcode

from fanout.protocol import APPSYNC, DIALECTS, PING_FRAME, cut_close_reason, frame_header, join_parts, text_frame
from tests.fanout.protocol.judge import read_frames

LENGTHS_AT_THE_EDGES = (0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000)


@pytest.mark.parametrize("length", LENGTHS_AT_THE_EDGES)
def test_text_frame_is_read_back_by_a_client(length: int) -> None:
    message = b"x" * length
    (frame,) = read_frames(text_frame(message))
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, message)


@pytest.mark.parametrize(("length", "header_bytes"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_header_has_the_shortest_form(length: int, header_bytes: int) -> None:
    assert len(frame_header(length)) == header_bytes


def test_header_takes_another_opcode() -> None:
    (frame,) = read_frames(frame_header(3, 0x82) + b"abc")
    assert frame.opcode is Opcode.BINARY


def test_ping_frame() -> None:
    (frame,) = read_frames(PING_FRAME)
    assert (frame.opcode, bytes(frame.data)) == (Opcode.PING, b"")


@given(st.integers(3000, 4999), st.text(st.characters(), max_size=300))
@example(4400, "x" * 122 + "\u00e4")
@example(4400, "x" * 121 + "\u00e4")
@example(4400, "\ud800")
def test_close_reason_is_cut_between_characters(code: int, reason: str) -> None:
    told = cut_close_reason(reason)
    Close(code, told).serialize()
    sendable = reason.encode("utf-8", "replace").decode()
    assert sendable.startswith(told)
    rest = sendable.removeprefix(told)
    assert len(told.encode()) <= 123
    assert not rest or len((told + rest[0]).encode()) > 123


@given(
    st.sampled_from(sorted(DIALECTS)),
    st.lists(st.integers(0, 1000) | st.sampled_from(LENGTHS_AT_THE_EDGES), max_size=5),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=256),
)
def test_joined_parts_are_one_data_message_per_payload(name: str, lengths: list[int], id: str) -> None:
    dialect = DIALECTS[name]  # type: ignore[index]  # the enumeration's members are strings
    payloads = [json.dumps({"data": {"n": n, "text": "x" * length}}).encode() for n, length in enumerate(lengths)]
    id_bytes = json.dumps(id, ensure_ascii=False).encode()

    frames = read_frames(id_bytes.join(join_parts(payloads, dialect, len(id_bytes))))

    assert [frame.opcode for frame in frames] == [Opcode.TEXT] * len(payloads)
    messages = [json.loads(bytes(frame.data)) for frame in frames]
    kind = "next" if name == "transport_ws" else "data"
    assert messages == [{"type": kind, "id": id, "payload": json.loads(payload)} for payload in payloads]


@pytest.mark.parametrize("around", range(0, 70))
def test_the_length_in_a_head_counts_the_id(around: int) -> None:
    # Around 126 the header grows; the id alone may carry the message over that edge.
    id_bytes = b'"' + b"i" * around + b'"'
    (frame,) = read_frames(id_bytes.join(join_parts([b"{}" + b" " * 50], APPSYNC, len(id_bytes))))
    assert json.loads(bytes(frame.data))["id"] == "i" * around


def test_parts_are_the_same_for_every_id_of_a_length() -> None:
    parts = join_parts([b'{"data":1}', b'{"data":2}'], APPSYNC, 3)
    assert len(parts) == 3
    for id_bytes in (b'"1"', b'"2"'):
        assert [bytes(frame.data) for frame in read_frames(id_bytes.join(parts))] == [
            b'{"type":"data","id":' + id_bytes + b',"payload":{"data":1}}',
            b'{"type":"data","id":' + id_bytes + b',"payload":{"data":2}}',
        ]


def test_no_payloads_are_no_bytes() -> None:
    assert b'"1"'.join(join_parts([], APPSYNC, 3)) == b""
