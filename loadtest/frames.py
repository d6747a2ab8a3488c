"""WebSocket as a raw client needs it (RFC 6455): upgrade request, masked frames out, plain frames in.

Knows no socket and nothing of GraphQL. Only what a server of short, unfragmented messages sends is read, compressed
ones (RFC 7692) only if that was asked for; anything else is a `FrameError`, since a load test that guesses would
count wrong.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import NamedTuple

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

# A fixed key and a mask of zeros: RFC 6455 wants both unpredictable to protect proxies, of which there are none
# here, and this way one request and one frame serve for every connection.
_KEY = base64.b64encode(b"fanout-load-test").decode()
_ACCEPT = base64.b64encode(
    hashlib.sha1((_KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
)
_NO_MASK = bytes(4)
_DEFLATE_OFFER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
_DEFLATE_TAIL = b"\x00\x00\xff\xff"  # RFC 7692 section 7.2.2


class FrameError(Exception):
    """The peer sent what this reader does not take; the text says what."""


class Frame(NamedTuple):
    """One frame: opcode (RFC 6455 section 5.2) and payload."""

    opcode: int
    payload: bytes


def build_upgrade(host: str, path: str, subprotocols: tuple[str, ...], *, deflate: bool = False) -> bytes:
    """The upgrade request (RFC 6455 section 4.1); with `deflate` it offers compression without context takeover."""
    extensions = ("Sec-WebSocket-Extensions: " + _DEFLATE_OFFER,) if deflate else ()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}"] if subprotocols else []),
        *extensions,
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def split_upgrade(buffer: bytes, subprotocol: str, *, deflate: bool = False) -> bytes | None:
    """Check the answer to an upgrade request and return the bytes after it; None if it is not complete yet.

    Raises:
        FrameError: another status than 101, a wrong `Sec-WebSocket-Accept`, another sub-protocol than asked for (empty:
            none), or compression agreed to otherwise than `deflate` says.
    """
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None
    status, *lines = head.split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if not status.startswith(b"HTTP/1.1 101"):
        raise FrameError(f"upgrade refused: {status.decode(errors='replace')}")
    if headers.get(b"sec-websocket-accept") != _ACCEPT:
        raise FrameError("upgrade answered with a wrong Sec-WebSocket-Accept")
    if headers.get(b"sec-websocket-protocol", b"") != subprotocol.encode():
        raise FrameError(f"upgrade answered with sub-protocol {headers.get(b'sec-websocket-protocol')!r}")
    extensions = headers.get(b"sec-websocket-extensions", b"")
    if (b"permessage-deflate" in extensions and b"server_no_context_takeover" in extensions) != deflate:
        raise FrameError(f"upgrade answered with extensions {extensions!r}")
    return rest


def build_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A final, masked client frame (RFC 6455 section 5.2).

    Raises:
        ValueError: the payload has 64 KiB or more, which no message of a load test needs.
    """
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        raise ValueError(f"payload of {length} bytes")
    return head + _NO_MASK + payload


def split_frames(buffer: bytes, *, deflate: bool = False) -> tuple[list[Frame], bytes]:
    """All complete server frames at the front of `buffer`, and the bytes after them.

    Args:
        buffer: what was received.
        deflate: compressed messages may be among them; each is given as it was before compression.

    Raises:
        FrameError: a fragmented or masked frame, or a compressed one that was not agreed to or does not inflate.
    """
    frames = []
    position, end = 0, len(buffer)
    while end - position >= 2:
        first, length = buffer[position], buffer[position + 1]
        is_compressed = first & 0xF0 == 0xC0 and deflate
        if (first & 0xF0 != 0x80 and not is_compressed) or length & 0x80:
            raise FrameError(f"frame begins with {buffer[position : position + 2].hex()}: not a plain final frame")
        start = position + 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if end - start < width:
                break
            length = int.from_bytes(buffer[start : start + width], "big")
            start += width
        if end - start < length:
            break
        payload = buffer[start : start + length]
        frames.append(Frame(first & 0x0F, _inflate(payload) if is_compressed else payload))
        position = start + length
    return frames, buffer[position:]


def _inflate(payload: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(payload + _DEFLATE_TAIL)
    except zlib.error as error:
        raise FrameError(f"compressed message: {error}") from None
