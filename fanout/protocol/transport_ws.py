"""The dialect `graphql-transport-ws`, subprotocol of the same name.

Source: PROTOCOL.md of enisdenjo/graphql-ws, and its reference server for what the page leaves open. Most mistakes
of the client end the connection with a close code. May not know: the state of any conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fanout.errors import ClientFault
from fanout.model import CloseReason, DialectName
from fanout.protocol.conversation import BadMessage, Command, Init, Ping, Pong, Start, Stop
from fanout.protocol.dialect import Dialect, EarlyStart, RepeatedId, Rules, read_id, read_operation, show_type
from fanout.protocol.headers import read_init_headers

_ACK = b'{"type":"connection_ack"}'
_PONG_WITHOUT_PAYLOAD = b'{"type":"pong"}'
_PONG = Pong()
# What a GraphQL error may have beside extensions (GraphQL specification 7.1.2).
_STANDARD_ERROR_MEMBERS = ("message", "locations", "path")


class TransportWsDialect(Dialect):
    """Messages of `graphql-transport-ws`; errors are arrays of GraphQL errors, AppSync's fields in `extensions`."""

    name = DialectName.TRANSPORT_WS
    rules = Rules(
        early_start=EarlyStart.CLOSE,
        repeated_id=RepeatedId.CLOSE,
        repeated_init=CloseReason.TOO_MANY_INITS,
        bad_message=CloseReason.BAD_MESSAGE,
        refused_init=CloseReason.FORBIDDEN,
        stop_is_answered=False,
        invalidated=None,
    )
    data_prefix = b'{"type":"next","id":'

    def read(self, message: Mapping[str, Any]) -> Command:
        match message.get("type"):
            case "connection_init":
                return Init(read_init_headers(_read_payload(message)))
            case "subscribe":
                return _read_subscribe(message)
            case "complete":
                return Stop(read_id(message))
            case "ping":
                return Ping(_read_payload(message))
            case "pong":
                _read_payload(message)
                return _PONG
            case _:
                raise BadMessage(f"{show_type(message)}: use connection_init, subscribe, complete, ping or pong.")

    def ack(self, connection_timeout_ms: int) -> bytes:
        return _ACK

    def keep_alive(self) -> None:
        return None

    def started(self, id: str, position: str | None = None) -> None:
        return None

    def error(self, id: str | None, fault: ClientFault) -> bytes:
        # Without an id there is no such message; the rules close instead, so that this is not reached.
        return orjson.dumps({"type": "error", "id": id or "", "payload": [_to_graphql(e) for e in fault.errors]})

    def connection_error(self, fault: ClientFault) -> None:
        return None

    def pong(self, payload: object) -> bytes:
        if payload is None:
            return _PONG_WITHOUT_PAYLOAD
        try:
            return orjson.dumps({"type": "pong", "payload": payload})
        except orjson.JSONEncodeError:  # orjson reads 1024 levels, but writes only 254; the payload is optional
            return _PONG_WITHOUT_PAYLOAD


def _read_payload(message: Mapping[str, Any]) -> dict[str, Any] | None:
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise BadMessage(f"{show_type(message)}: 'payload' has to be an object, null or missing.")
    return payload


def _read_subscribe(message: Mapping[str, Any]) -> Start:
    id = read_id(message)
    payload = message.get("payload")
    if not isinstance(payload, dict):
        raise BadMessage("'subscribe': 'payload' has to be an object.", id=id)
    extensions = payload.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadMessage("'subscribe': 'payload.extensions' has to be an object.", id=id)
    return read_operation(payload, id, {}, "'subscribe': payload")


def _to_graphql(error: Mapping[str, Any]) -> dict[str, Any]:
    standard = {name: error[name] for name in _STANDARD_ERROR_MEMBERS if name in error}
    extensions = {name: error[name] for name in error if name not in (*_STANDARD_ERROR_MEMBERS, "extensions")}
    return {**standard, "extensions": {**extensions, **(error.get("extensions") or {})}}


TRANSPORT_WS = TransportWsDialect()
