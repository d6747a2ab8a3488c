"""AppSync's real-time dialect as a client writes it: header object, messages. Knows no socket and no library.

Sources: AppSync developer guide, "Building a real-time WebSocket client"; sub-protocol form as Amplify JS sends it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

SUBPROTOCOL = "graphql-ws"
CONNECTION_INIT = '{"type":"connection_init"}'


def build_header_object(url: str, api_key: str) -> dict[str, str]:
    """Credentials as AppSync's clients carry them.

    Args:
        url: the HTTP endpoint, for example `http://127.0.0.1:8080/graphql`; its host goes in, with the port.
        api_key: sent as `x-api-key`.
    """
    return {"host": urlsplit(url).netloc, "x-api-key": api_key}


def build_header_subprotocol(header_object: Mapping[str, str]) -> str:
    """The header object as the second item of `Sec-WebSocket-Protocol`: base64url without padding."""
    text = json.dumps(dict(header_object), separators=(",", ":"))
    return "header-" + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def build_start(id: str, query: str, variables: Mapping[str, Any], header_object: Mapping[str, str]) -> str:
    """The `start` message; `data` is a JSON string inside the JSON, as AppSync wants it."""
    data = json.dumps({"query": query, "variables": dict(variables)}, separators=(",", ":"))
    payload = {"data": data, "extensions": {"authorization": dict(header_object)}}
    return json.dumps({"id": id, "type": "start", "payload": payload}, separators=(",", ":"))


def build_stop(id: str) -> str:
    """The `stop` message, which the service answers with one `complete`."""
    return json.dumps({"id": id, "type": "stop"}, separators=(",", ":"))


def to_websocket_url(url: str) -> str:
    """`http://host/graphql` -> `ws://host/graphql`, `https` -> `wss`.

    Raises:
        ValueError: the URL is of another scheme.
    """
    scheme, separator, rest = url.partition("://")
    schemes = {"http": "ws", "https": "wss"}
    if not separator or scheme not in schemes:
        raise ValueError(f"{url}: expected an http:// or https:// URL")
    return f"{schemes[scheme]}://{rest}"
