"""The values of a conversation: commands that a client gave, effects that the gateway has to perform.

May not know: how a dialect writes any of this, sockets, or what an effect takes to be performed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fanout.errors import BadRequest
from fanout.model import CloseReason, Extensions, SubscribeRequest
from fanout.protocol.extensions import NONE


class BadMessage(BadRequest):
    """A message that its dialect does not allow.

    Args:
        message: what is wrong with it; shown to the client, never holds a credential.
        id: the subscription that it is about, where the message got so far as to name one.
    """

    def __init__(self, message: str, *, id: str | None = None) -> None:
        super().__init__(message)
        self.id = id


# Commands: what a dialect reads out of one message


@dataclass(frozen=True, slots=True)
class Init:
    """`connection_init`; `headers` are the credentials in its payload, names in lower case, empty if none."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Start:
    """A wish to subscribe.

    Args:
        id: the client's id for the subscription, unique within the connection.
        query: the GraphQL document, not looked at yet.
        operation_name: which operation of the document, or None.
        variables: JSON values by variable name.
        headers: credentials and other headers of this request alone, names in lower case.
        fingerprint: equal for a repetition of the same request; 0 in dialects that do not compare.
        extensions: what is asked for beyond GraphQL, or what is wrong with that: this subscription is refused then,
            and the conversation goes on in any dialect.
        signed: see `SubscribeRequest`.
    """

    id: str
    query: str
    operation_name: str | None
    variables: Mapping[str, Any]
    headers: Mapping[str, str]
    fingerprint: int
    extensions: Extensions | BadRequest = NONE
    signed: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """The client wants no more of the subscription `id`."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping of the dialect (not of WebSocket); its `payload`, None if absent, goes back in the pong."""

    payload: object


@dataclass(frozen=True, slots=True)
class Pong:
    """The client's answer to a ping of the dialect, or its unasked sign of life."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """The client asks for the end of the connection."""


Command = Init | Start | Stop | Ping | Pong | Terminate


# Effects: what a session asks of the gateway, to be performed in the order given


@dataclass(frozen=True, slots=True)
class Send:
    """Write one text message; `message` is its JSON, without a frame."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Authorize:
    """Decide about the connection by these headers (names in lower case); answer `authorized` or `refused`."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Authorize, plan and register a subscription; answer `subscribed` or `rejected` with `id` and `token`.

    Args:
        id: the client's id.
        id_bytes: the id as JSON with its quotes, as it stands in every message about it.
        request: what to subscribe to, and the headers that say who wants it.
        token: unique within the session, so that an answer that comes late cannot meet a later use of the id.
    """

    id: str
    id_bytes: bytes
    request: SubscribeRequest
    token: int


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Drop the subscription that `Subscribe` named by this `id` and `token`, whether answered yet or not."""

    id: str
    token: int


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, after what was sent before; `detail`, if any, stands in for the reason's text."""

    reason: CloseReason
    detail: str = ""


Effect = Send | Authorize | Subscribe | Unsubscribe | Close
