"""Positions as clients see them: one opaque text for a place in every stream. HOT: one `write` per event asked for.

A token is base64url without padding of a version byte, and for each stream in the order of their names its epoch (8
bytes) and an entry's id (two unsigned 64-bit numbers). It says: everything up to these entries has been delivered, or
came before the subscription. Knows no connection, and nothing of what the streams hold.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from struct import Struct

from fanout.bus.entries import EntryId
from fanout.engine import Token
from fanout.errors import BadRequest, PositionExpired

VERSION = 1
EPOCH_BYTES = 8
# Text that is no token decodes to any first byte; few of them are versions that there will ever be.
_HIGHEST_VERSION = 15
_PLACE = Struct(f"!{EPOCH_BYTES}sQQ")
_VERSION_BYTE = bytes((VERSION,))


def write_token(epochs: Sequence[bytes], places: Sequence[tuple[int, int]]) -> bytes:
    """The token for a place in each stream, as ASCII. Cost: about 1 us for one stream, 0.3 us for each further one."""
    parts = [_VERSION_BYTE]
    for epoch, (ms, number) in zip(epochs, places, strict=True):
        parts.append(_PLACE.pack(epoch, ms, number))
    return base64.urlsafe_b64encode(b"".join(parts)).rstrip(b"=")


def read_token(text: str, streams: int) -> Token:
    """Read a token that a client sent.

    Args:
        text: as it came.
        streams: how many streams there are.

    Raises:
        BadRequest: it is not a token of any version.
        PositionExpired: one of another version, or for another number of streams.
    """
    try:
        data = text.encode("ascii")
        raw = base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise _malformed() from None
    # What is written back otherwise was never written by us: bits that count for nothing, or the other alphabet.
    if not raw or base64.urlsafe_b64encode(raw).rstrip(b"=") != data or not 0 < raw[0] <= _HIGHEST_VERSION:
        raise _malformed()
    if raw[0] != VERSION:
        raise PositionExpired("another version of the service gave it")
    if len(raw) == 1 or (len(raw) - 1) % _PLACE.size:
        raise _malformed()
    entries = list(_PLACE.iter_unpack(raw[1:]))
    if len(entries) != streams:
        raise PositionExpired("it was given by a deployment with other streams")
    return Token(tuple(entry[0] for entry in entries), tuple(EntryId(*entry[1:]) for entry in entries))


def _malformed() -> BadRequest:
    return BadRequest("extensions.fanout.after is not a position: send one as it was received, unchanged.")
