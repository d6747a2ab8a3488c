"""Shared compressed frames, judged by `websockets`' own client side."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame
from websockets.protocol import State
from websockets.uri import parse_uri

from fanout.protocol.deflate import SMALLEST_COMPRESSED_BYTES, join_parts_deflated
from fanout.protocol.frames import join_parts


class Shape:
    data_prefix = b'{"id":'
    data_middle = b',"type":"data","payload":'
    data_suffix = b"}"


def read_messages(data: bytes) -> list[bytes]:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    client.extensions = [PerMessageDeflate(True, True, 15, 15)]
    client.receive_data(data)
    assert client.parser_exc is None
    return [bytes(event.data) for event in client.events_received() if isinstance(event, Frame)]


payloads = st.lists(
    st.one_of(st.text(max_size=50), st.text(min_size=200, max_size=400), st.just("abc" * 40_000)).map(orjson.dumps),
    min_size=1,
    max_size=4,
)


@given(payloads, st.text(min_size=1, max_size=80))
def test_a_client_reads_what_was_meant(payloads: list[bytes], id: str) -> None:
    id_bytes = orjson.dumps(id)
    data = id_bytes.join(join_parts_deflated(payloads, Shape(), len(id_bytes)))
    assert read_messages(data) == [
        b'{"id":%b,"type":"data","payload":%b}' % (id_bytes, payload) for payload in payloads
    ]


def test_it_is_smaller_where_it_matters() -> None:
    payload = orjson.dumps([{"name": "fanout", "kind": "text"}] * 100)
    plain, compressed = (join([payload], Shape(), 38) for join in (join_parts, join_parts_deflated))
    assert sum(map(len, compressed)) < sum(map(len, plain)) / 10


@pytest.mark.parametrize("length", [0, SMALLEST_COMPRESSED_BYTES - 1])
def test_short_payloads_are_sent_as_they_are(length: int) -> None:
    payloads = [b"x" * length]
    assert b"I".join(join_parts_deflated(payloads, Shape(), 1)) == b"I".join(join_parts(payloads, Shape(), 1))


def test_nothing_is_nothing() -> None:
    assert join_parts_deflated([], Shape(), 3) == []
