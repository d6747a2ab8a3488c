"""What uvicorn is given as its WebSocket protocol class. Knows uvicorn's contract, which the rest need not.

uvicorn (0.54) calls `cls(config=, server_state=, app_state=)`, `connection_made(transport)`, then
`data_received` with the upgrade request written out again, and only then sets the transport's protocol.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from fanout.gateway.connection import Connection
from fanout.gateway.gateway import Gateway


def build_protocol_class(gateway: Gateway) -> type[asyncio.Protocol]:
    """The callable for uvicorn's `Config(ws=...)` that makes connections of this gateway."""

    def build_connection(config: Config, server_state: ServerState, app_state: dict[str, Any]) -> Connection:
        del config, app_state
        return Connection(gateway, cast("set[asyncio.Protocol]", server_state.connections))

    return cast("type[asyncio.Protocol]", build_connection)
