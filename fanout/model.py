"""Values that are passed between rooms: an event, a bucket, an identity. Knows no room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be published.

    Args:
        mutation: name of the mutation field that it is the result of.
        data: JSON bytes of the mutation's result, restricted to what the mutation selected.
        key: idempotency key; a second event with the same key is dropped. Empty: none.
        at_ms: when the publisher made it, in ms since 1970; 0: the stream id's time counts.
        stream: the event stream to append to; empty: the mutation's, as set, or the first.
    """

    mutation: str
    data: bytes
    key: str = ""
    at_ms: int = 0
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was read from a stream.

    Args:
        id: the stream entry's id, `<ms>-<n>`.
        mutation: name of a mutation field of the schema.
        data: the parsed JSON of the mutation's result.
        raw: the JSON bytes that `data` was parsed from.
        at_ms: publish time in ms since 1970 (the entry's `at` field, else the id's time).
    """

    id: str
    mutation: str
    data: Any
    raw: bytes
    at_ms: int


class Bucket(NamedTuple):
    """Where subscriptions are looked up: those on `field` with the condition `path` = value of `token`.

    The catch-all bucket of a field, for filters that nothing can be indexed by, has an empty path and token.
    """

    field: str
    path: str
    token: str


class DialectName(str, Enum):
    """The conversation that a connection speaks; also a metric label. See docs/protocols.md."""

    APPSYNC = "appsync"
    TRANSPORT_WS = "transport_ws"
    APOLLO_WS = "apollo_ws"


class AuthMode(str, Enum):
    """How somebody shows who they are, by AppSync's names (developer guide, "Configuring authorization")."""

    API_KEY = "API_KEY"
    COGNITO = "AMAZON_COGNITO_USER_POOLS"
    OIDC = "OPENID_CONNECT"
    IAM = "AWS_IAM"
    LAMBDA = "AWS_LAMBDA"


@dataclass(frozen=True, slots=True)
class AuthDirective:
    """One authorization directive of a type or field of the schema.

    Args:
        name: without `@`, for example `aws_iam`.
        cognito_groups: groups any one of which suffices; empty where none are named.
        line: where it stands in the SDL, from 1; 0 where unknown.
    """

    name: str
    cognito_groups: tuple[str, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class FieldPolicy:
    """Which fields an identity may use, whatever the schema's directives allow to its mode.

    Args:
        allow: patterns `Type.field`, in which `*` is any text, for the fields of `Query`, `Mutation` and
            `Subscription`: one has to match.
        deny: patterns for fields of any type, none of which may match.
    """

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once: a policy is looked up by for each subscription and request, and may have thousands of patterns.
        object.__setattr__(self, "_hash", hash((self.allow, self.deny)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a connection or request is, as decided by `fanout.auth`.

    Args:
        mode: how it was shown.
        claims: AppSync's `ctx.identity` of the mode, which `$identity.x` in a filter template reads; empty for an
            API key, where it is null.
        subject: who it is, as operators name and see it; never a credential. Of an API key the first 16 digits of
            its SHA-256, `sha256:0123456789abcdef`; of a token its issuer and subject.
        expires_at: when its credentials end, in seconds since 1970; infinity where they do not tell. An API key
            can be revoked, so that `Authorizer.holds` is asked about it.
        groups: of a Cognito user.
        policy: which fields it may use; None: all that its mode may.
    """

    mode: AuthMode
    claims: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""
    expires_at: float = inf
    groups: frozenset[str] = frozenset()
    policy: FieldPolicy | None = None

    def is_same_client(self, other: Identity) -> bool:
        """Whether both are one client, perhaps by other credentials: whose connection may be renewed."""
        return (self.mode, self.subject) == (other.mode, other.subject)


class KeyKind(str, Enum):
    """What a key opens."""

    API = "api"
    """Subscriptions and `/graphql`."""
    PUBLISHER = "publisher"
    """`/events`."""
    ADMIN = "admin"
    """`/admin`."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key that `fanout keys create` has made: all that is kept of it.

    Args:
        digest: the key's SHA-256, 32 bytes.
        kind: what it opens.
        description: what its owner calls it.
        created_at: in seconds since 1970.
        expires_at: from when on it is not good any more, likewise.
    """

    digest: bytes
    kind: KeyKind
    description: str
    created_at: int
    expires_at: int


class CallKind(Enum):
    """What somebody wants to be let in for."""

    CONNECT = "a WebSocket connection"
    SUBSCRIBE = "one subscription on it"
    HTTP = "a request to /graphql"


@dataclass(frozen=True, slots=True)
class Call:
    """What there is to decide by about who is asking.

    Args:
        kind: see the enumeration.
        headers: names in lower case; those of the header object or message over those of HTTP.
        body: what a signature covers (AppSync guide, "real-time-websocket-client"): `{}` of a connection,
            `payload.data` of a subscription byte for byte, the body of a request.
        path: of the HTTP endpoint that a signature is made for, without `/connect`.
        query_string: of the request, raw; empty on a WebSocket.
        query: the GraphQL document; empty for a connection.
        operation_name: which operation of it.
        variables: JSON values by variable name.
        addresses: where it comes from, the client first and then proxies, as in `ctx.identity.sourceIp`.
        renews: whose connection the credentials are to renew; None: nobody's.
    """

    kind: CallKind
    headers: Mapping[str, str]
    body: bytes = b"{}"
    path: str = "/graphql"
    query_string: str = ""
    query: str = ""
    operation_name: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    renews: Identity | None = None


class OverflowPolicy(Enum):
    """What becomes of the messages of a client that reads too slowly."""

    CLOSE = "close"
    DROP_OLDEST = "drop-oldest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Overflow:
    """A subscription's wish for the case that its client reads too slowly.

    Args:
        policy: see the enumeration.
        path: for `LATEST` only: the field of the payload's value whose values are kept apart; empty: one for all.
    """

    policy: OverflowPolicy = OverflowPolicy.CLOSE
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a request asks of Fanout beyond GraphQL (`extensions.fanout`).

    Args:
        wants_positions: each payload is to tell its position.
        after: the position to resume from, as the client gave it, not looked at yet; None: from now on.
        overflow: what to do when the client reads too slowly.
    """

    wants_positions: bool = False
    after: str | None = None
    overflow: Overflow = Overflow()


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """A client's wish to subscribe, whatever the dialect it came in.

    Args:
        query: the GraphQL document.
        operation_name: which operation of the document, or None.
        variables: JSON values by variable name.
        headers: the credentials and other headers of this request, names in lower case.
        extensions: what it asks for beyond GraphQL.
        signed: what AppSync's clients sign of it: the text of `payload.data`; empty in the other dialects.
    """

    query: str
    operation_name: str | None
    variables: Mapping[str, Any]
    headers: Mapping[str, str]
    extensions: Extensions = Extensions()
    signed: str = ""


class CloseReason(Enum):
    """Why the service ends a connection: WebSocket close code, name (also the metric label), text for people.

    Codes from 4600 to 4699 are Fanout's own and mean: connect again. Codes from 4400 to 4499 are those of
    graphql-transport-ws. AppSync's clients do not look at codes and reconnect after any close.
    """

    NORMAL = (1000, "normal", "closed normally")
    PROTOCOL_ERROR = (1002, "protocol-error", "the WebSocket protocol was violated")
    BINARY_MESSAGE = (1003, "binary-message", "send text messages only")
    INVALID_TEXT = (1007, "invalid-text", "text messages are UTF-8")
    MESSAGE_TOO_BIG = (1009, "message-too-big", "message exceeds the inbound size limit")
    DRAINING = (1012, "draining", "this gateway is going away, connect again")
    INTERNAL_ERROR = (1011, "internal-error", "internal error")
    INIT_REFUSED = (1011, "init-refused", "initialisation was refused")
    BAD_MESSAGE = (4400, "bad-message", "invalid message")
    UNAUTHORIZED = (4401, "unauthorized", "Unauthorized")
    FORBIDDEN = (4403, "forbidden", "Forbidden")
    NO_SUBPROTOCOL = (4406, "no-subprotocol", "Subprotocol not acceptable")
    INIT_TIMEOUT = (4408, "init-timeout", "Connection initialisation timeout")
    DUPLICATE_ID = (4409, "duplicate-id", "Subscriber already exists")
    TOO_MANY_INITS = (4429, "too-many-inits", "Too many initialisation requests")
    IDLE = (4601, "idle", "idle for too long, connect again when needed")
    LIFETIME = (4602, "lifetime", "maximum connection life reached, connect again")
    SLOW_CLIENT = (4603, "slow-client", "client reads too slowly, connect again")
    UNRESPONSIVE = (4604, "unresponsive", "no answer to a ping")
    EVENTS_MISSED = (4605, "events-missed", "events may have been missed, connect again and reload")
    LIMIT_EXCEEDED = (4606, "limit-exceeded", "a limit was exceeded, connect again later")
    AUTHORITY_UNAVAILABLE = (4607, "authority-unavailable", "it cannot be decided who is asking, connect again later")
    CLOSED_BY_OPERATOR = (4620, "closed-by-operator", "closed by the operator, connect again")
    INVALIDATED = (4621, "invalidated", "Subscription complete.")
    API_CHANGED = (4622, "api-changed", "the API has changed, connect again")

    def __init__(self, code: int, label: str, text: str) -> None:
        self.code = code
        self.label = label
        self.text = text
