"""What every dialect has: how it reads and writes messages, and the rules of conversation in which dialects differ.

The rules are a table (`Rules`) that the session walks and docs/protocols.md shows. May not know: the state of any
conversation, sockets, frames, and what becomes of a request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import orjson

from fanout.errors import BadRequest, ClientFault
from fanout.model import CloseReason, DialectName, Extensions
from fanout.protocol.conversation import BadMessage, Command, Start
from fanout.protocol.extensions import MEMBER, NONE, read_extensions

# An id is written again in front of every event; UUIDs have 36 characters, and no client is known to use more.
LONGEST_ID_CHARACTERS = 256
_LONGEST_SHOWN_CHARACTERS = 40


class EarlyStart(Enum):
    """What becomes of a start that comes before the acknowledgement."""

    DROP = "dropped"
    HOLD = "held until the acknowledgement"
    CLOSE = "closed with 4401"


class RepeatedId(Enum):
    """What becomes of a start whose id is in use."""

    CONFIRM = "confirmed again if the document is the same, else an error; the first stays"
    REPLACE = "replaces the first"
    CLOSE = "closed with 4409"


@dataclass(frozen=True, slots=True)
class Rules:
    """Where dialects differ in what follows on what.

    Args:
        early_start: see the enumeration.
        repeated_id: see the enumeration.
        repeated_init: None: acknowledged again; else the connection is closed for this reason.
        bad_message: None: answered with an error, and the connection stays; else it is closed for this reason.
        refused_init: how the connection is closed when the credentials are not accepted.
        stop_is_answered: with exactly one `complete`, if the id was in use.
        invalidated: how the connection is closed when one of its subscriptions is invalidated; None: it stays.
    """

    early_start: EarlyStart
    repeated_id: RepeatedId
    repeated_init: CloseReason | None
    bad_message: CloseReason | None
    refused_init: CloseReason
    stop_is_answered: bool
    invalidated: CloseReason | None


class Dialect(ABC):
    """One sub-protocol, without state: each has one instance that all sessions share.

    Fits `fanout.protocol.frames.DataShape`: a data message is
    `data_prefix + id as JSON with quotes + data_middle + payload + data_suffix`.
    """

    name: ClassVar[DialectName]
    rules: ClassVar[Rules]
    data_prefix: ClassVar[bytes]
    data_middle: ClassVar[bytes] = b',"payload":'
    data_suffix: ClassVar[bytes] = b"}"

    @abstractmethod
    def read(self, message: Mapping[str, Any]) -> Command:
        """Read one message, as `decode_message` gives it.

        Raises:
            BadMessage: (a `ClientFault`) anything that the dialect does not allow. Nothing else is ever raised.
        """

    @abstractmethod
    def ack(self, connection_timeout_ms: int) -> bytes:
        """The answer to an accepted `connection_init`."""

    @abstractmethod
    def keep_alive(self) -> bytes | None:
        """The sign of life that goes out right after `ack` and then at intervals; None: WebSocket pings serve."""

    @abstractmethod
    def started(self, id: str, position: str | None = None) -> bytes | None:
        """Tells that a subscription is live, and where it begins if it asked for that; None where the dialect has no
        such message."""

    @abstractmethod
    def error(self, id: str | None, fault: ClientFault) -> bytes:
        """Tells that the subscription `id` is refused or over, or that a message without an id was bad."""

    @abstractmethod
    def connection_error(self, fault: ClientFault) -> bytes | None:
        """Tells why the connection is about to be closed; None where the close code has to do."""

    def complete(self, id: str) -> bytes:
        """Tells that nothing more will come for the subscription `id`."""
        return orjson.dumps({"type": "complete", "id": id})

    def pong(self, payload: object) -> bytes | None:
        """The answer to the dialect's own ping; None in dialects without one."""
        return None


def decode_message(text: str | bytes) -> dict[str, Any]:
    """The JSON object of one message.

    Raises:
        BadMessage: not UTF-8, not JSON, nested too deeply (1024), or not an object.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadMessage("The message is not valid JSON.") from None
    if not isinstance(message, dict):
        raise BadMessage("The message is not a JSON object.")
    return message


def read_id(message: Mapping[str, Any]) -> str:
    """The subscription id of a message that has to have one.

    Raises:
        BadMessage: missing, not a string, empty or too long.
    """
    id = message.get("id")
    if not isinstance(id, str) or not id:
        raise BadMessage(f"{show_type(message)}: 'id' has to be a string that is not empty.")
    if len(id) > LONGEST_ID_CHARACTERS:
        raise BadMessage(f"{show_type(message)}: 'id' has more than {LONGEST_ID_CHARACTERS} characters.")
    return id


def read_fanout_extensions(extensions: object) -> Extensions | BadRequest:
    """What a request's `extensions` ask of Fanout, or what is wrong with it; no object asks for nothing."""
    if not isinstance(extensions, dict) or MEMBER not in extensions:
        return NONE
    try:
        return read_extensions(extensions[MEMBER])
    except BadRequest as fault:
        return fault


def read_operation(
    operation: Mapping[str, Any],
    id: str,
    headers: Mapping[str, str],
    where: str,
    fingerprint: int = 0,
    extensions: Extensions | BadRequest | None = None,
    signed: str = "",
) -> Start:
    """The `{query, variables, operationName}` that all dialects have, as a command.

    Args:
        operation: the object that has these members; others are ignored.
        id, headers, fingerprint, signed: members of the command, as they are.
        where: the object's name in error messages.
        extensions: what is asked of Fanout; None: `operation` says so itself.

    Raises:
        BadMessage: a member is missing or of another type; an empty operation name is none.
    """
    query = operation.get("query")
    if not isinstance(query, str):
        raise BadMessage(f"{where}.query has to be a string.", id=id)
    variables = operation.get("variables")
    if variables is None:
        variables = {}
    elif not isinstance(variables, dict):
        raise BadMessage(f"{where}.variables has to be an object.", id=id)
    operation_name = operation.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise BadMessage(f"{where}.operationName has to be a string.", id=id)
    if extensions is None:
        extensions = read_fanout_extensions(operation.get("extensions"))
    return Start(id, query, operation_name or None, variables, headers, fingerprint, extensions, signed)


def show_type(message: Mapping[str, Any]) -> str:
    """The message's type for an error text, cut short; it is the client's own word and may be anything."""
    kind = message.get("type")
    if not isinstance(kind, str):
        return "message without a 'type'"
    return f"'{kind}'" if len(kind) <= _LONGEST_SHOWN_CHARACTERS else f"'{kind[:_LONGEST_SHOWN_CHARACTERS]}...'"
