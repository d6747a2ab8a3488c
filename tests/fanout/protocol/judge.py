"""The outside judge of our frames: the `websockets` library as the client's end of a connection."""

from __future__ import annotations

from websockets.frames import Frame
from websockets.protocol import Protocol, Side, State


def read_frames(data: bytes) -> list[Frame]:
    """The frames that a client finds in `data`; fails on a violation of RFC 6455, or on bytes left over."""
    client = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None, client.parser_exc
    frames = client.events_received()
    if client.state is State.OPEN:
        client.receive_data(b"\x8a\x00")  # a pong of our own, found at the right place if nothing is left over
        (pong,) = client.events_received()
        assert isinstance(pong, Frame)
    return [frame for frame in frames if isinstance(frame, Frame)]
