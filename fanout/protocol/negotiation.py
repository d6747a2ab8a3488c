"""From an upgrade request to the dialect that its connection speaks, and the headers it brought.

The only place that looks at path, query string and `Sec-WebSocket-Protocol`. May not know: messages, sessions,
and whether the credentials are any good. The rules as a table: docs/protocols.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fanout.errors import BadRequest, ClientFault
from fanout.model import DialectName
from fanout.protocol.headers import CREDENTIAL_NAMES, PROXY_HEADER, decode_header_object, overlay_headers

PATHS = frozenset({"/graphql", "/graphql/realtime"})
APPSYNC_SUBPROTOCOL = "graphql-ws"
TRANSPORT_WS_SUBPROTOCOL = "graphql-transport-ws"
HEADER_SUBPROTOCOL_PREFIX = "header-"

# Parameters that carry the header object itself; every other one counts as a header of lowest precedence.
_HEADER_OBJECT_PARAMETER = "header"
_PARAMETERS_WITHOUT_MEANING = frozenset({_HEADER_OBJECT_PARAMETER, "payload"})
# The handshake's own (RFC 6455 4.1): they say nothing about who is asking and would be kept for the connection's life.
_HANDSHAKE_HEADERS = frozenset(
    {
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    }
)
_LONGEST_SHARED_VALUE = 128


class UnsupportedSubprotocol(BadRequest):
    """The client offers only subprotocols that are not spoken here, or nothing to choose a dialect by."""

    def __init__(self) -> None:
        super().__init__("SubProtocolNotSupportedError")  # the service's own text: graphql-dotnet/graphql-client #591


@dataclass(frozen=True, slots=True)
class Agreement:
    """The upgrade is to be accepted.

    Args:
        dialect: what the conversation starts in; an `appsync` one can still turn out to be `apollo_ws`.
        subprotocol: the value for `Sec-WebSocket-Protocol` of the response; None: leave the header out.
        headers: names in lower case; header object over plain headers over query parameters.
        fault: what the client is to be told once it listens, None if all is well. An HTTP status would be hidden
            from browsers, and Amplify would try again for ever.
        header_object_given: by query string or subprotocol, readable or not. Only AppSync's clients give one.
    """

    dialect: DialectName
    subprotocol: str | None
    headers: Mapping[str, str]
    fault: ClientFault | None
    header_object_given: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """The upgrade is to be answered with this HTTP `status` and `message`."""

    status: int
    message: str


def negotiate(path: str, query_string: str, headers: Sequence[tuple[str, str]]) -> Agreement | Refusal:
    """Decide about an upgrade request.

    Args:
        path: of the request, decoded, without the query.
        query_string: raw, without `?`; empty if there is none.
        headers: of the request, in order, names in lower case; repetitions allowed.

    Raises nothing, whatever the arguments hold. Costs 10-13 us for an AppSync client.
    """
    if path not in PATHS:
        return Refusal(404, f"No WebSocket endpoint at this path; connect to {' or '.join(sorted(PATHS))}.")
    plain, offered = _split_headers(headers)
    parameters = parse_qsl(query_string, keep_blank_values=True) if query_string else []

    encoded = next((item for item in offered if item.startswith(HEADER_SUBPROTOCOL_PREFIX)), None)
    if encoded is not None:
        encoded = encoded.removeprefix(HEADER_SUBPROTOCOL_PREFIX)
    else:
        encoded = next((value for name, value in parameters if name == _HEADER_OBJECT_PARAMETER), None)

    fault: ClientFault | None = None
    header_object: Mapping[str, str] = {}
    if encoded is not None:
        try:
            header_object = decode_header_object(encoded)
        except BadRequest as undecodable:
            fault = undecodable

    low = {name.lower(): value for name, value in parameters if name not in _PARAMETERS_WITHOUT_MEANING}
    low.pop(PROXY_HEADER, None)
    merged = _share_text(overlay_headers(overlay_headers(low, plain), header_object))
    choice = _choose_dialect(offered, encoded is not None, not CREDENTIAL_NAMES.isdisjoint(merged))
    if choice is None:
        choice, fault = (DialectName.APPSYNC, None), UnsupportedSubprotocol()
    dialect, subprotocol = choice
    return Agreement(dialect, subprotocol, merged, fault, encoded is not None)


def _split_headers(headers: Sequence[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    plain: dict[str, str] = {}
    offered: list[str] = []
    for name, value in headers:
        if name == "sec-websocket-protocol":
            offered += [item.strip() for item in value.split(",")]
        elif name not in _HANDSHAKE_HEADERS:
            # RFC 9110 5.3: repetitions are one list. So two different credentials are none, not the luckier one.
            plain[name] = f"{plain[name]}, {value}" if name in plain else value
    return plain, [item for item in offered if item]


def _choose_dialect(
    offered: Sequence[str], header_object_given: bool, credentials_given: bool
) -> tuple[DialectName, str | None] | None:
    appsync_offered = APPSYNC_SUBPROTOCOL in offered
    transport_ws_offered = TRANSPORT_WS_SUBPROTOCOL in offered
    if appsync_offered and (header_object_given or not transport_ws_offered):
        return DialectName.APPSYNC, APPSYNC_SUBPROTOCOL
    if transport_ws_offered:
        return DialectName.TRANSPORT_WS, TRANSPORT_WS_SUBPROTOCOL
    names_offered = any(not item.startswith(HEADER_SUBPROTOCOL_PREFIX) for item in offered)
    if not names_offered and (header_object_given or credentials_given):
        return DialectName.APPSYNC, None
    return None


def _share_text(headers: Mapping[str, str]) -> dict[str, str]:
    # Thousands of connections of one application bring the same names, hosts, agents and API keys, and each keeps
    # them for its life: interned, the nine headers of a browser cost 0.35 KB per connection instead of 1.5 KB
    # (tests/fanout/protocol/test_session_cost.py).
    return {
        sys.intern(name): sys.intern(value) if len(value) <= _LONGEST_SHARED_VALUE else value
        for name, value in headers.items()
    }
