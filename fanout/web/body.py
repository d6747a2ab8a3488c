"""Request bodies: read up to a limit and parsed as JSON. Knows nothing of what they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request

from fanout.errors import BadRequest, LimitExceeded
from fanout.settings import Settings


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one request may ask for: bounds the time that it holds the event loop and, by its transaction, Redis."""

    graphql_body_bytes: int = 1024 * 1024
    """Longest body of `POST /graphql`."""
    events_body_bytes: int = 4 * 1024 * 1024
    """Longest body of `POST /events`; parsing and writing that much takes about 35 ms."""
    events_per_request: int = 1000
    """Events in one list."""
    execution_timeout_ms: int = 30_000
    """How long the resolvers of one request may take; AppSync's quota."""

    @classmethod
    def from_settings(cls, settings: Settings) -> HttpLimits:
        """The defaults, unless a setting lets larger things through elsewhere: those fit in here too.

        A document may be as long as on a WebSocket, and whatever may be delivered may be published (twice the
        payload's size leaves room for what subscribers do not select).
        """
        default = cls()
        needed = max(settings.max_message_bytes, 2 * settings.max_payload_bytes)
        return cls(
            graphql_body_bytes=max(default.graphql_body_bytes, needed),
            events_body_bytes=max(default.events_body_bytes, needed),
            execution_timeout_ms=settings.request_execution_timeout_ms,
        )


async def read_json(request: Request, limit_bytes: int) -> Any:
    """The request's body, parsed.

    Raises:
        LimitExceeded, BadRequest: as `read_body` and `parse_json`.
    """
    return parse_json(await read_body(request, limit_bytes))


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The request's body.

    A body whose Content-Length tells that it is too large is not read at all.

    Raises:
        LimitExceeded: longer than `limit_bytes` (answered with 413).
    """
    # Any number of zeros may stand in front, and Python refuses to read numbers of thousands of digits.
    declared = request.headers.get("content-length", "").lstrip("0")
    if declared.isdecimal() and (len(declared) > len(str(limit_bytes)) or int(declared) > limit_bytes):
        raise _too_large(limit_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
    return b"".join(parts)


def parse_json(body: bytes) -> Any:
    """A body as JSON.

    Raises:
        BadRequest: empty or not JSON.
    """
    if not body:
        raise BadRequest("the request has no body: send a JSON object")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the request body is not valid JSON: {error}") from None


def _too_large(limit_bytes: int) -> LimitExceeded:
    return LimitExceeded(
        f"the request body exceeds the limit of {limit_bytes} bytes: send less at once", error_code=413
    )
