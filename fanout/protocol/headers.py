"""Header objects: the credentials and request headers that clients carry as JSON instead of as HTTP headers.

AppSync's clients cannot set headers on a browser's WebSocket, so they send `{"host":...,"x-api-key":...}` in the
query string, in the subprotocol list, or inside messages. May not know: negotiation, messages, who is let in.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from fanout.errors import BadRequest

# Whoever gives one of these for a request means it instead of what the connection was opened with: AppSync
# authorizes each `start` on its own, possibly in another mode (AppSync guide, real-time-websocket-client).
CREDENTIAL_NAMES = frozenset({"authorization", "x-api-key"})

PROXY_HEADER = "x-forwarded-for"
"""Written by proxies, into the header of HTTP and nowhere else: where a client is, it may not say itself."""

# Standard and URL-safe alphabets; a form decoder has made spaces of `+` (gql does not percent-encode); old Android
# clients break lines; padding is put back by `decode_header_object`.
_TO_STANDARD_ALPHABET = str.maketrans({"-": "+", "_": "/", " ": "+", "\n": None, "\r": None, "=": None})


def read_headers(value: Mapping[str, Any]) -> dict[str, str]:
    """The string values of a JSON object by lower-case name; other values are no headers and are left out.

    Of names that differ in case only, the last one counts. `X-Forwarded-For` is left out: that is for proxies to say.
    """
    found = {name.lower(): text for name, text in value.items() if isinstance(text, str)}
    found.pop(PROXY_HEADER, None)
    return found


def decode_header_object(encoded: str) -> dict[str, str]:
    """Decode the base64 of a JSON object, in any of the forms that clients send.

    Raises:
        BadRequest: not base64, not JSON, or not an object. The text does not repeat the value.
    """
    standard = encoded.strip().translate(_TO_STANDARD_ALPHABET)
    try:
        decoded = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        value = orjson.loads(decoded)
    except ValueError:  # of base64, of text that is not ASCII, and of orjson
        raise BadRequest("The header object is not base64 of JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest("The header object is not a JSON object.")
    return read_headers(value)


def read_init_headers(payload: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The credentials in the payload of a `connection_init`.

    Clients have no common form: `{"x-api-key":...}` and `{"headers":{"x-api-key":...}}` are both read; the latter
    wins. So do the `connectionParams` of the old Apollo dialect.
    """
    if not payload:
        return {}
    found = read_headers(payload)
    nested = payload.get("headers")
    if isinstance(nested, dict):
        found.update(read_headers(nested))
    return found


def overlay_headers(lower: Mapping[str, str], upper: Mapping[str, str]) -> Mapping[str, str]:
    """`upper` over `lower`; a credential in `upper` takes every credential of `lower` out.

    Returns one of the arguments where the other is empty: treat the result as immutable.
    """
    if not upper:
        return lower
    if not lower:
        return upper
    if CREDENTIAL_NAMES.isdisjoint(upper):
        return {**lower, **upper}
    merged = {name: text for name, text in lower.items() if name not in CREDENTIAL_NAMES}
    merged.update(upper)
    return merged
