"""Compressed frames that are shared by all subscribers of a group (RFC 7692). HOT: called once per batch and group.

Compressing per connection costs tens of kilobytes of state and tens of microseconds per message each. Without
context takeover (RFC 7692 section 7.1.1) nothing of one message is needed for the next, so the work can be shared:
the part with the subscription's id goes into a stored block (RFC 1951 section 3.2.4), which is copied as it is, and
the rest, equal for everybody, into a compressed block behind it. May not know: dialects, sessions, connections.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from struct import Struct

from fanout.protocol.frames import FIN_TEXT, DataShape, frame_header

RSV1 = 0x40  # "this message is compressed", RFC 7692 section 6
SMALLEST_COMPRESSED_BYTES = 200
"""Shorter payloads are sent as they are: the compressed ones would hardly be smaller."""

_pack_stored = Struct("<BHH").pack
_SYNC_TAIL_BYTES = 4  # 00 00 FF FF, left out by RFC 7692 section 7.2.1


def join_parts_deflated(payloads: Sequence[bytes], dialect: DataShape, id_bytes_length: int) -> list[bytes]:
    """Like `fanout.protocol.frames.join_parts`, for connections with permessage-deflate.

    Only for connections that agreed to `server_no_context_takeover` and to a window of 32 KB (15 bits).
    Cost: one compression per payload (about 10 us for 1 KB), whatever the number of subscribers.
    """
    parts: list[bytes] = []
    tail = b""
    for payload in payloads:
        head, body = _build_frame(payload, dialect, id_bytes_length)
        parts.append(tail + head)
        tail = body
    parts.append(tail)
    return parts if payloads else []


def _build_frame(payload: bytes, dialect: DataShape, id_bytes_length: int) -> tuple[bytes, bytes]:
    prefix = dialect.data_prefix
    rest = b"".join((dialect.data_middle, payload, dialect.data_suffix))
    stored_bytes = len(prefix) + id_bytes_length
    if len(payload) < SMALLEST_COMPRESSED_BYTES:
        return frame_header(stored_bytes + len(rest)) + prefix, rest
    compressor = zlib.compressobj(level=6, wbits=-15)
    body = (compressor.compress(rest) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-_SYNC_TAIL_BYTES]
    block_header = _pack_stored(0, stored_bytes, stored_bytes ^ 0xFFFF)  # not the last block; length and its complement
    frame_bytes = len(block_header) + stored_bytes + len(body)
    return frame_header(frame_bytes, FIN_TEXT | RSV1) + block_header + prefix, body
