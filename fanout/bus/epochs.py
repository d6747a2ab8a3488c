"""What tells a stream from another one by the same name: a random value beside its checkpoint.

Ids cannot tell, since they follow the clock. The value is made by whoever looks first, and made anew by the router
when it finds that the stream was replaced or has lost entries, before anybody is told (`fanout.bus.router`); it is
gone when Redis has lost everything. Positions carry it, so that none outlives its stream. Where nobody could notice,
because no gateway ran, `fanout.bus.replay` does not find the entry that a position names.
"""

from __future__ import annotations

import secrets

from fanout.bus.client import Command, Link
from fanout.bus.keys import Keys
from fanout.bus.tokens import EPOCH_BYTES

UNKNOWN = b"\0" * EPOCH_BYTES
"""Before the first look."""


class EpochReader:
    """Gets one stream's epoch, or makes it.

    Args:
        keys: key names.
        stream: the event stream.
    """

    def __init__(self, keys: Keys, stream: str) -> None:
        self._key = keys.epoch(stream)
        self._proposed = secrets.token_bytes(EPOCH_BYTES)

    def build_command(self) -> Command:
        """The command whose answer `read` takes."""
        self._proposed = secrets.token_bytes(EPOCH_BYTES)
        return ("SET", self._key, self._proposed, "NX", "GET")

    def read(self, answer: bytes | None) -> bytes:
        """The epoch; anything in the key that is none stands for one that nobody has."""
        epoch = self._proposed if answer is None else answer
        return epoch if len(epoch) == EPOCH_BYTES else UNKNOWN


async def renew_epoch(link: Link, keys: Keys, stream: str) -> None:
    """Expire all positions of a stream.

    Raises:
        Unavailable: it is unknown whether that was done.
    """
    await link.call(("SET", keys.epoch(stream), secrets.token_bytes(EPOCH_BYTES)))
