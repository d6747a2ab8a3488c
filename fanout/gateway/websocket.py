"""The inbound side of RFC 6455: `websockets`' sans-IO protocols, strict in all that we would have to check ourselves.

Knows nothing of sockets, sessions or GraphQL.
"""

from __future__ import annotations

import logging
import uuid

from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

# websockets tells of every opening and closing at INFO; here that is counted, not logged.
_logger = logging.getLogger("fanout.websocket")
_logger.setLevel(logging.WARNING)

# Without context takeover a connection keeps no compressor, and a group's frames can be shared.
_DEFLATE = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
_SHARED_WINDOW_BITS = 15
# websockets names each connection for its log; that we do not use, and one name for all takes no memory.
_NAMELESS = uuid.UUID(int=0)


class Handshake(ServerProtocol):
    """The opening handshake, told which sub-protocol to agree to by `fanout.protocol.negotiate`."""

    def __init__(self, *, offers_compression: bool) -> None:
        super().__init__(extensions=[_DEFLATE] if offers_compression else None, logger=_logger)
        self.agreed_subprotocol: str | None = None

    def select_subprotocol(self, subprotocols: object) -> Subprotocol | None:
        return Subprotocol(self.agreed_subprotocol) if self.agreed_subprotocol else None


class WebSocket(Protocol):
    """The connection after the handshake.

    A protocol of its own, because the one of the handshake keeps the request and all headers: 3 KB per connection.
    """

    def __init__(self, handshake: Handshake, max_message_bytes: int) -> None:
        super().__init__(Side.SERVER, state=State.OPEN, max_size=max_message_bytes, logger=_logger)
        self.extensions = handshake.extensions
        self.id = _NAMELESS

    @property
    def can_be_sent_deflated(self) -> bool:
        """Whether the client agreed to compressed messages with the window that shared frames are made for."""
        return any(
            isinstance(extension, PerMessageDeflate) and extension.local_max_window_bits == _SHARED_WINDOW_BITS
            for extension in self.extensions
        )
