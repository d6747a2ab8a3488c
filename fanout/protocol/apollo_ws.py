"""The dialect of the old Apollo client, subprotocol `graphql-ws` (npm subscriptions-transport-ws 0.11).

It shares the subprotocol's name with AppSync and is told apart by its messages. Source: the package's PROTOCOL.md
and what its client and gql's `WebsocketsTransport` do. May not know: the state of any conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fanout.errors import ClientFault
from fanout.model import CloseReason, DialectName
from fanout.protocol.conversation import BadMessage, Command, Init, Start, Stop, Terminate
from fanout.protocol.dialect import Dialect, EarlyStart, RepeatedId, Rules, read_id, read_operation, show_type
from fanout.protocol.headers import read_init_headers

_ACK = b'{"type":"connection_ack"}'
_KEEP_ALIVE = b'{"type":"ka"}'
_TERMINATE = Terminate()


class ApolloWsDialect(Dialect):
    """Messages of the old Apollo protocol; an error is one `payload.message`, several are put on lines of it."""

    name = DialectName.APOLLO_WS
    rules = Rules(
        early_start=EarlyStart.HOLD,  # its client sends starts right behind connection_init, without waiting
        repeated_id=RepeatedId.REPLACE,
        repeated_init=None,
        bad_message=None,
        refused_init=CloseReason.INIT_REFUSED,
        stop_is_answered=True,  # gql waits for it
        invalidated=None,
    )
    data_prefix = b'{"type":"data","id":'

    def recognizes(self, message: Mapping[str, Any]) -> bool:
        """Whether a message on a `graphql-ws` connection can only come from this dialect's client.

        AppSync's clients never fill the payload of `connection_init`, and write an operation as the string
        `payload.data`, not as members of `payload`.
        """
        payload = message.get("payload")
        match message.get("type"):
            case "connection_init":
                return isinstance(payload, dict) and bool(payload)
            case "start":
                return isinstance(payload, dict) and "query" in payload and "data" not in payload
            case "connection_terminate":
                return True
            case _:
                return False

    def read(self, message: Mapping[str, Any]) -> Command:
        match message.get("type"):
            case "connection_init":
                payload = message.get("payload")
                return Init(read_init_headers(payload if isinstance(payload, dict) else None))
            case "start":
                return _read_start(message)
            case "stop":
                return Stop(read_id(message))
            case "connection_terminate":
                return _TERMINATE
            case _:
                raise BadMessage(f"{show_type(message)}: use connection_init, start, stop or connection_terminate.")

    def ack(self, connection_timeout_ms: int) -> bytes:
        return _ACK

    def keep_alive(self) -> bytes:
        return _KEEP_ALIVE

    def started(self, id: str, position: str | None = None) -> None:
        return None  # start_ack is an error to this client

    def error(self, id: str | None, fault: ClientFault) -> bytes:
        if id is None:
            return self.connection_error(fault)
        return orjson.dumps({"type": "error", "id": id, "payload": {"message": _join_messages(fault)}})

    def connection_error(self, fault: ClientFault) -> bytes:
        return orjson.dumps({"type": "connection_error", "payload": {"message": _join_messages(fault)}})


def _read_start(message: Mapping[str, Any]) -> Start:
    id = read_id(message)
    payload = message.get("payload")
    if not isinstance(payload, dict):
        raise BadMessage("'start': 'payload' has to be an object.", id=id)
    return read_operation(payload, id, {}, "'start': payload")


def _join_messages(fault: ClientFault) -> str:
    return "\n".join(str(error.get("message", fault.message)) for error in fault.errors)


APOLLO_WS = ApolloWsDialect()
