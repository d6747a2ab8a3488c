"""The dialect of AWS AppSync's real-time endpoint, subprotocol `graphql-ws`.

Source: AppSync developer guide, real-time-websocket-client, and what its clients do (Amplify, the AppSync link for
Apollo, gql, the native SDKs). Only documented message types are ever sent: gql closes on others. May not know: the
state of any conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fanout.errors import ClientFault
from fanout.model import CloseReason, DialectName
from fanout.protocol.conversation import BadMessage, Command, Init, Start, Stop
from fanout.protocol.dialect import (
    Dialect,
    EarlyStart,
    RepeatedId,
    Rules,
    read_fanout_extensions,
    read_id,
    read_operation,
    show_type,
)
from fanout.protocol.extensions import MEMBER
from fanout.protocol.headers import read_headers, read_init_headers

_KEEP_ALIVE = b'{"type":"ka"}'
_NO_HEADERS: Mapping[str, str] = {}
_INIT = Init(_NO_HEADERS)


class AppSyncDialect(Dialect):
    """Messages as AppSync writes them; errors always as the array `payload.errors`."""

    name = DialectName.APPSYNC
    rules = Rules(
        early_start=EarlyStart.DROP,  # "messages sent before the ack are dropped by the service"
        # AppSync refuses any repetition. Amplify repeats a start that was not confirmed in time, on the same socket
        # with the same id, and takes the refusal for the end of the subscription.
        repeated_id=RepeatedId.CONFIRM,
        repeated_init=None,
        bad_message=None,
        refused_init=CloseReason.UNAUTHORIZED,
        stop_is_answered=True,  # gql waits 10 s for it
        invalidated=CloseReason.INVALIDATED,  # "unsubscribe and close" (guide, aws-appsync-real-time-invalidation)
    )
    data_prefix = b'{"type":"data","id":'

    def read(self, message: Mapping[str, Any]) -> Command:
        match message.get("type"):
            case "connection_init":
                # AppSync's clients give their credentials with the upgrade; gql adds an empty payload here. Those of
                # others, and fresh ones for an open connection, are read from it.
                payload = message.get("payload")
                return Init(read_init_headers(payload)) if payload and isinstance(payload, dict) else _INIT
            case "start":
                return _read_start(message)
            case "stop":
                return Stop(read_id(message))
            case _:
                raise BadMessage(f"{show_type(message)}: use connection_init, start or stop.")

    def ack(self, connection_timeout_ms: int) -> bytes:
        return b'{"type":"connection_ack","payload":{"connectionTimeoutMs":%d}}' % connection_timeout_ms

    def keep_alive(self) -> bytes:
        return _KEEP_ALIVE

    def started(self, id: str, position: str | None = None) -> bytes:
        if position is None:
            return orjson.dumps({"type": "start_ack", "id": id})
        # Its clients look at nothing but the id.
        payload = {"extensions": {MEMBER: {"position": position}}}
        return orjson.dumps({"type": "start_ack", "id": id, "payload": payload})

    def error(self, id: str | None, fault: ClientFault) -> bytes:
        payload = {"errors": fault.errors}
        if id is None:
            return orjson.dumps({"type": "error", "payload": payload})
        return orjson.dumps({"type": "error", "id": id, "payload": payload})

    def connection_error(self, fault: ClientFault) -> bytes:
        return orjson.dumps({"type": "connection_error", "payload": {"errors": fault.errors}})


def _read_start(message: Mapping[str, Any]) -> Start:
    id = read_id(message)
    payload = message.get("payload")
    if not isinstance(payload, dict):
        raise BadMessage("'start': 'payload' has to be an object.", id=id)
    data = payload.get("data")
    if not isinstance(data, str):
        raise BadMessage("'start': 'payload.data' has to be a string that holds JSON.", id=id)
    try:
        operation = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise BadMessage("'start': 'payload.data' does not hold valid JSON.", id=id) from None
    if not isinstance(operation, dict):
        raise BadMessage("'start': 'payload.data' does not hold a JSON object.", id=id)
    extensions = payload.get("extensions")
    headers = _read_authorization(extensions, id)
    # The hash is salted per process and compared within one connection: a client can only deceive itself.
    fingerprint = hash(data)
    asked = None  # gql writes a request's extensions into `data`
    if extensions is not None and MEMBER in extensions:
        asked = read_fanout_extensions(extensions)
        fingerprint ^= hash(asked)
    return read_operation(operation, id, headers, "'start': payload.data", fingerprint, asked, data)


def _read_authorization(extensions: object, id: str) -> Mapping[str, str]:
    if extensions is None:
        return _NO_HEADERS
    if not isinstance(extensions, dict):
        raise BadMessage("'start': 'payload.extensions' has to be an object.", id=id)
    authorization = extensions.get("authorization")
    if authorization is None:
        return _NO_HEADERS
    if not isinstance(authorization, dict):
        raise BadMessage("'start': 'payload.extensions.authorization' has to be an object.", id=id)
    return read_headers(authorization)


APPSYNC = AppSyncDialect()
