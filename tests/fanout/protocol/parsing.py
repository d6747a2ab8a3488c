"""One message from its text, as a session reads it."""

from __future__ import annotations

from fanout.protocol import Dialect
from fanout.protocol.conversation import Command
from fanout.protocol.dialect import decode_message


def parse(dialect: Dialect, text: str | bytes) -> Command:
    """Read one message.

    Raises:
        BadMessage: what the dialect does not allow.
    """
    return dialect.read(decode_message(text))
