"""The room of conversations, sans-IO: what the bytes of a client mean, and the bytes that answer them.

`negotiate` turns an upgrade request into an `Agreement`; a `Session` made of it turns messages into effects that the
gateway performs; the frame functions turn messages into bytes for the socket. No asyncio, no sockets, no clock. The
protocols as tables: docs/protocols.md.
"""

from __future__ import annotations

from fanout.protocol.apollo_ws import APOLLO_WS
from fanout.protocol.appsync import APPSYNC
from fanout.protocol.conversation import Authorize, BadMessage, Close, Effect, Send, Subscribe, Unsubscribe
from fanout.protocol.deflate import join_parts_deflated
from fanout.protocol.dialect import Dialect
from fanout.protocol.frames import PING_FRAME, DataShape, cut_close_reason, frame_header, join_parts, text_frame
from fanout.protocol.negotiation import PATHS, Agreement, Refusal, UnsupportedSubprotocol, negotiate
from fanout.protocol.session import DIALECTS, Session
from fanout.protocol.transport_ws import TRANSPORT_WS

__all__ = [
    # before the conversation
    "negotiate",
    "Agreement",
    "Refusal",
    "UnsupportedSubprotocol",
    "PATHS",
    # the conversation
    "Session",
    "Effect",
    "Send",
    "Authorize",
    "Subscribe",
    "Unsubscribe",
    "Close",
    # dialects
    "Dialect",
    "DIALECTS",
    "APPSYNC",
    "TRANSPORT_WS",
    "APOLLO_WS",
    "BadMessage",
    # frames
    "frame_header",
    "text_frame",
    "cut_close_reason",
    "join_parts",
    "join_parts_deflated",
    "DataShape",
    "PING_FRAME",
]
