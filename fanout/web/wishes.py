"""What resolvers wish beside their values: headers of the response, and subscriptions to be invalidated.

What a resolver does wrong here is told to the client beside the data, and to the API's owner in the log; nothing that
was executed is taken back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fanout.errors import BadRequest, Unavailable
from fanout.execution import ExecutionResult
from fanout.log_limit import LogLimit, tell_held_back
from fanout.schema import Invalidate
from fanout.web.answers import UNAVAILABLE_TYPE

_logger = logging.getLogger("fanout.web")

OrderInvalidation = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Tells all gateways to end the subscriptions on a field whose invalidation filters match a payload; raises
`BadRequest` for a field that has none, and `Unavailable`."""

_match_header_name = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_match_header_value = re.compile(r"[\t -~]*").fullmatch
# What the server says about its own answer.
_OWN_HEADERS: Final = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "date", "keep-alive"),
        *("server", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_MAX_HEADER_BYTES: Final = 4096


class Wishes:
    """Sees to what executions wish for.

    Args:
        order: tells all gateways.
    """

    def __init__(self, order: OrderInvalidation) -> None:
        self._order = order
        self._log_limit = LogLimit()  # clients decide how often resolvers run

    def choose_headers(self, wished: Mapping[str, str]) -> dict[str, str]:
        """Of the headers that resolvers wish for, those that can be sent: others would change what the answer is.

        All fields of an operation have AppSync's 4 KB together; what does not fit is left out, and the log says so.
        """
        chosen: dict[str, str] = {}
        left = _MAX_HEADER_BYTES
        for name, value in {name.lower(): value for name, value in wished.items()}.items():
            if not _match_header_name(name) or not _match_header_value(value) or name in _OWN_HEADERS:
                continue
            size = len(name) + len(value)
            if size > left:
                self._warn(f"a response header is left out, resolvers have {_MAX_HEADER_BYTES} bytes: %s%s", name)
                continue
            chosen[name] = value
            left -= size
        return chosen

    async def carry_out(self, result: ExecutionResult) -> dict[str, Any]:
        """Order the invalidations of an execution, in order; its response, with the errors of those that failed."""
        errors = [error for wish in result.invalidations if (error := await self._invalidate(wish)) is not None]
        if not errors:
            return result.response
        return {**result.response, "errors": [*result.response.get("errors", ()), *errors]}

    async def _invalidate(self, wish: Invalidate) -> dict[str, Any] | None:
        try:
            await self._order(wish.field, wish.payload)
        except BadRequest as fault:
            self._warn("a resolver's invalidateSubscriptions cannot be carried out: %s%s", fault)
            return _describe("BadRequest", f"Subscriptions on {wish.field} cannot be invalidated.")
        except Unavailable as error:
            self._warn("subscriptions that a resolver wants to be invalidated are not: %s%s", error)
            return _describe(UNAVAILABLE_TYPE, f"Subscriptions on {wish.field} could not be invalidated now.")
        return None

    def _warn(self, text: str, what: object) -> None:
        held_back = self._log_limit.admit()
        if held_back is not None:
            _logger.warning(text, what, tell_held_back(held_back))


def _describe(error_type: str, message: str) -> dict[str, Any]:
    return {
        "path": None,
        "data": None,
        "errorType": error_type,
        "errorInfo": None,
        "locations": None,
        "message": message,
    }
