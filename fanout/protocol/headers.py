"""Header objects: the credentials and request headers that clients carry as JSON instead of as HTTP headers.

AppSync's clients cannot set headers on a browser's WebSocket, so they send `{"host":...,"x-api-key":...}` in the
query string, in the subprotocol list, or inside messages. May not know: negotiation, messages, who is let in.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from fanout.errors import BadRequest
from fanout.protocol.conversation import BadMessage

# Whoever gives one of these for a request means it instead of what the connection was opened with: AppSync
# authorizes each `start` on its own, possibly in another mode (AppSync guide, real-time-websocket-client).
CREDENTIAL_NAMES = frozenset({"authorization", "x-api-key"})

RENEWING_NAMES = CREDENTIAL_NAMES | {
    "host",
    "accept",
    "content-encoding",
    "content-type",
    "x-amz-date",
    "x-amz-security-token",
}
"""What fresh credentials consist of, signatures too: nothing else of them is kept, so that a connection's headers do
not grow with each renewal."""

PROXY_HEADER = "x-forwarded-for"
"""Written by proxies, into the header of HTTP and nowhere else: where a client is, it may not say itself."""

MAX_HEADER_OBJECT_CHARACTERS = 16 * 1024
"""Longest header object, encoded or as part of a message: kept for a connection's life. Tokens have a few thousand."""
MAX_HEADER_OBJECT_MEMBERS = 100
MAX_HEADER_OBJECT_DEPTH = 8
"""Arrays and objects in each other, itself included: what is not a string is no header, and not kept."""

# Standard and URL-safe alphabets; a form decoder has made spaces of `+` (gql does not percent-encode); old Android
# clients break lines; padding is put back by `decode_header_object`.
_TO_STANDARD_ALPHABET = str.maketrans({"-": "+", "_": "/", " ": "+", "\n": None, "\r": None, "=": None})


def read_headers(value: Mapping[str, Any]) -> dict[str, str]:
    """The string values of a JSON object by lower-case name; other values are no headers and are left out.

    Of names that differ in case only the last one counts; of credentials they are one list, as repeated headers are
    (RFC 9110 section 5.3), so that two are none. `X-Forwarded-For` is left out: that is for proxies to say.
    """
    found: dict[str, str] = {}
    for name, text in value.items():
        if isinstance(text, str):
            lower = name.lower()
            is_second = lower in found and lower in CREDENTIAL_NAMES
            found[lower] = f"{found[lower]}, {text}" if is_second else text
    found.pop(PROXY_HEADER, None)
    return found


def decode_header_object(encoded: str) -> dict[str, str]:
    """Decode the base64 of a JSON object, in any of the forms that clients send.

    Raises:
        BadRequest: not base64, not JSON, not an object, or too large. The text does not repeat the value.
    """
    if len(encoded) > MAX_HEADER_OBJECT_CHARACTERS:
        raise BadRequest(f"The header object has more than {MAX_HEADER_OBJECT_CHARACTERS} characters.")
    standard = encoded.strip().translate(_TO_STANDARD_ALPHABET)
    try:
        decoded = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        value = orjson.loads(decoded)
    except ValueError:  # of base64, of text that is not ASCII, and of orjson
        raise BadRequest("The header object is not base64 of JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest("The header object is not a JSON object.")
    if len(value) > MAX_HEADER_OBJECT_MEMBERS:
        raise BadRequest(f"The header object has more than {MAX_HEADER_OBJECT_MEMBERS} members.")
    if _is_nested_deeper(value, MAX_HEADER_OBJECT_DEPTH):
        raise BadRequest(f"The header object is nested more than {MAX_HEADER_OBJECT_DEPTH} levels deep.")
    return read_headers(value)


def read_init_headers(payload: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The credentials in the payload of a `connection_init`.

    Clients have no common form: `{"x-api-key":...}` and `{"headers":{"x-api-key":...}}` are both read; the latter
    wins. So do the `connectionParams` of the old Apollo dialect.

    Raises:
        BadMessage: they are too large.
    """
    if not payload:
        return {}
    found = read_headers(payload)
    nested = payload.get("headers")
    if isinstance(nested, dict):
        found.update(read_headers(nested))
    if len(found) > MAX_HEADER_OBJECT_MEMBERS:
        raise BadMessage(f"'connection_init': the payload has more than {MAX_HEADER_OBJECT_MEMBERS} headers.")
    if sum(len(name) + len(text) for name, text in found.items()) > MAX_HEADER_OBJECT_CHARACTERS:
        limit = MAX_HEADER_OBJECT_CHARACTERS
        raise BadMessage(f"'connection_init': the headers in the payload have more than {limit} characters.")
    return found


def _is_nested_deeper(value: object, levels: int) -> bool:
    """Whether arrays and objects stand in each other more than so many times. Looks no further down."""
    if isinstance(value, dict):
        items: Iterable[object] = value.values()
    elif isinstance(value, list):
        items = value
    else:
        return False
    return levels == 0 or any(_is_nested_deeper(item, levels - 1) for item in items)


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
