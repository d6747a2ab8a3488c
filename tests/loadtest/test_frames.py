"""Judged from outside by the `websockets` library."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from loadtest import frames


def test_upgrade_and_frames_are_what_a_server_takes():
    server = ServerProtocol(subprotocols=["graphql-ws"])
    server.receive_data(frames.build_upgrade("127.0.0.1:1", "/graphql", ("graphql-ws", "header-e30")))
    (request,) = server.events_received()
    assert request.path == "/graphql"
    server.send_response(server.accept(request))
    answer = b"".join(server.data_to_send())
    assert frames.split_upgrade(answer + b"rest", "graphql-ws") == b"rest"
    for payload in (b"", b"a" * 125, b"a" * 126, b"a" * 65535):
        server.receive_data(frames.build_frame(payload))
        (frame,) = server.events_received()
        assert (frame.opcode, frame.data, frame.fin) == (Opcode.TEXT, payload, True)
    with pytest.raises(ValueError, match="65536 bytes"):
        frames.build_frame(b"a" * 65536)


def test_an_answer_that_is_not_complete_is_waited_for():
    assert frames.split_upgrade(b"HTTP/1.1 101 Switching", "graphql-ws") is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "refused: HTTP/1.1 401"),
        (b"HTTP/1.1 101 S\r\nSec-WebSocket-Accept: x\r\n\r\n", "wrong Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 S\r\nSec-WebSocket-Accept: " + frames._ACCEPT + b"\r\n\r\n", "sub-protocol None"),
    ],
)
def test_a_wrong_answer_is_told(answer, why):
    with pytest.raises(frames.FrameError, match=why):
        frames.split_upgrade(answer, "graphql-ws")


@given(
    st.lists(st.tuples(st.sampled_from([Opcode.TEXT, Opcode.PING, Opcode.CLOSE]), st.binary(max_size=300)), max_size=5),
    st.integers(0, 2000),
)
def test_frames_are_split_wherever_the_bytes_are_cut(sent, cut):
    data = b"".join(Frame(opcode, payload).serialize(mask=False) for opcode, payload in sent)
    first, rest = frames.split_frames(data[:cut])
    second, rest = frames.split_frames(rest + data[cut:])
    assert rest == b""
    assert [(frame.opcode, frame.payload) for frame in first + second] == sent


def test_a_long_frame_is_read():
    data = Frame(Opcode.TEXT, b"a" * 70_000).serialize(mask=False)
    assert frames.split_frames(data[:-1]) == ([], data[:-1])
    assert frames.split_frames(data) == ([frames.Frame(frames.TEXT, b"a" * 70_000)], b"")


@pytest.mark.parametrize("head", [b"\x01\x00", b"\xc1\x00", b"\x81\x80"], ids=["fragment", "compressed", "masked"])
def test_frames_of_another_kind_are_refused(head):
    with pytest.raises(frames.FrameError, match="not a plain final frame"):
        frames.split_frames(head)


def _deflate(text: bytes, cut: int) -> bytes:
    """A stored block ahead of a compressed one, as a shared payload behind one's own id may be sent (RFC 7692)."""
    stored = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
    compressed = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = stored.compress(text[:cut]) + stored.flush(zlib.Z_SYNC_FLUSH)
    tail = compressed.compress(text[cut:]) + compressed.flush(zlib.Z_SYNC_FLUSH)
    return head + tail[:-4]


def _mark_compressed(payload: bytes) -> bytes:
    data = bytearray(Frame(Opcode.TEXT, payload).serialize(mask=False))
    data[0] |= 0x40
    return bytes(data)


@pytest.mark.parametrize("cut", [0, 40])
def test_compressed_frames_are_read_if_agreed_to(cut):
    text = b'{"id":"00000000-0000-4000-8000-000000000000","type":"data"}' * 3
    data = _mark_compressed(_deflate(text, cut))
    assert frames.split_frames(data, deflate=True) == ([frames.Frame(frames.TEXT, text)], b"")
    with pytest.raises(frames.FrameError, match="compressed message"):
        frames.split_frames(_mark_compressed(b"\xff" * 9), deflate=True)


def test_compression_is_insisted_on():
    server = ServerProtocol(
        subprotocols=["graphql-ws"], extensions=[ServerPerMessageDeflateFactory(server_no_context_takeover=True)]
    )
    server.receive_data(frames.build_upgrade("127.0.0.1:1", "/graphql", ("graphql-ws",), deflate=True))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    answer = b"".join(server.data_to_send())
    assert frames.split_upgrade(answer, "graphql-ws", deflate=True) == b""
    with pytest.raises(frames.FrameError, match="extensions b'permessage-deflate"):
        frames.split_upgrade(answer, "graphql-ws")
