"""What is waited for before somebody is subscribed, and what came of it: whose a wish is, and what its resolver sets.

Knows no connection. Each is one task while it is waited for, and nothing after.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fanout.api import Planned
from fanout.errors import ClientFault, Unauthorized, Unavailable
from fanout.model import Identity

logger = logging.getLogger("fanout.gateway")

Finish = Callable[[], Planned]
"""Makes the plan of what its field's resolver has come to, by the API that is served when it is called."""
Resolve = Callable[[], Awaitable[Finish]]
"""Runs the field's resolver: called when it is waited for, so that who leaves before leaves nothing that has begun."""
Holds = Callable[[Identity], bool]
"""Whether an identity that was decided may go on."""

_COME_AGAIN: Final = ("ServiceUnavailableException", 503)
"""Clients try again after 503, which they do not after 400, 401 and 403."""


class Waiting:
    """A wish to subscribe that is waited with.

    Args:
        future: what is waited for.
    """

    __slots__ = ("future",)

    group = None

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self.future = future


class Deciding(Waiting):
    """A wish to subscribe of which it is not known yet whose it is."""

    __slots__ = ()


class Planning(Waiting):
    """A wish to subscribe whose field's resolver has not come to its end.

    Args:
        future: what to go on with when it has.
        identity: whose it is.
    """

    __slots__ = ("identity",)

    def __init__(self, future: asyncio.Future[Finish], identity: Identity) -> None:
        super().__init__(future)
        self.identity = identity


async def wait_for_plan(begin: Resolve, longest_ms: int) -> Finish:
    """Run a resolver, but no longer than a request may take; raises TimeoutError."""
    async with asyncio.timeout(longest_ms / 1000):
        return await begin()


def read_decision(deciding: asyncio.Future[Identity], holds: Holds) -> Identity | ClientFault:
    """Who it was found to be, or what the client is to be told instead.

    `holds` is asked, since a reload may have taken out meanwhile what it was decided by.
    """
    error = deciding.exception()
    if error is None:
        identity = deciding.result()
        return identity if holds(identity) else Unauthorized()
    return _tell(
        error, "It cannot be decided now who is asking, try again later.", "it could not be decided who is asking"
    )


def read_plan(planning: Planning, holds: Holds) -> Planned | ClientFault:
    """What a wish comes to now that its resolver has run, or what the client is to be told instead.

    `holds`: asked as by `read_decision`.
    """
    error = planning.future.exception()
    if isinstance(error, TimeoutError):
        return ClientFault("Execution timed out.", error_type="ExecutionTimeout", error_code=504)
    if error is not None:
        return _tell(
            error, "Too many subscriptions are being resolved, try again later.", "a resolver could not be run"
        )
    if not holds(planning.identity):
        return Unauthorized()
    finish: Finish = planning.future.result()
    try:
        return finish()
    except ClientFault as fault:
        return fault


def _tell(error: BaseException, unavailable: str, defect: str) -> ClientFault:
    match error:
        case ClientFault():
            return error
        case Unavailable():
            kind, code = _COME_AGAIN
            return ClientFault(unavailable, error_type=kind, error_code=code)
        case _:  # our defect, or that of an authorizer function: this client is told, and all others go on
            logger.error("%s", defect, exc_info=error)
            return ClientFault("Internal error.", error_type="InternalFailureException", error_code=500)
