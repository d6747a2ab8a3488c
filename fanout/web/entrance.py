"""The door of HTTP: rates of requests, and refusals of credentials held back. Knows no path and no kind of credential.

The same rules as for WebSockets (`fanout.gateway.limits`, `fanout.auth.refusals`), which are asked here and kept there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from fastapi import Request

from fanout.auth import Decision, Refusals
from fanout.errors import Unauthorized
from fanout.metrics import Metrics
from fanout.model import Identity
from fanout.web.answers import TooManyRequests

_FORWARDED_HEADER = "x-forwarded-for"


class Excess(Protocol):
    """A limit that was exceeded, in words, and when there is room again."""

    @property
    def message(self) -> str: ...

    @property
    def retry_after_seconds(self) -> int: ...


class RequestLimits(Protocol):
    """Counts requests; gives what is exceeded, or None."""

    @property
    def counts_requests(self) -> bool:
        """False: no method needs to be called."""
        ...

    def request_from(self, address: str) -> Excess | None: ...

    def request_by(self, identity: str) -> Excess | None: ...


class Entrance:
    """Lets requests in.

    Args:
        refusals: how long they are held back.
        limits: rates of requests per address and identity.
        read_address: the client's address, from that of the peer and the values of `X-Forwarded-For`.
        metrics: counts who is not let in.
        trace_addresses: of the values of `X-Forwarded-For` and the peer, those that can be believed.
    """

    def __init__(
        self,
        refusals: Refusals,
        limits: RequestLimits,
        read_address: Callable[[str, Iterable[str]], str],
        metrics: Metrics,
        trace_addresses: Callable[[Sequence[str]], tuple[str, ...]] = lambda addresses: tuple(addresses[-1:]),
    ) -> None:
        self._trace_addresses = trace_addresses
        self._refusals = refusals
        self._limits = limits
        self._read_address = read_address
        self._metrics = metrics

    def count(self, request: Request) -> None:
        """A request has come, of which nothing but the header was read.

        Raises:
            TooManyRequests: the rate of its address is exceeded.
        """
        if self._limits.counts_requests:
            self._check(self._limits.request_from(self._find_address(request)), "address")

    async def admit(self, request: Request, decide: Callable[[], Decision]) -> Identity:
        """Who is asking. Whoever is refused is told late; nobody waits for one who leaves meanwhile.

        Raises:
            Unauthorized: by `decide`.
            TooManyRequests: the rate of the identity is exceeded.
        """
        asked_at = self._refusals.now()
        try:
            decision = decide()
            identity = decision if isinstance(decision, Identity) else await decision
        except Unauthorized as fault:
            self._metrics.refusals[fault.error_type] += 1
            wait_s = self._refusals.hold(self._find_address(request), asked_at)
            if wait_s:
                await self._hold(request, wait_s)
            raise
        if self._limits.counts_requests:
            self._check(self._limits.request_by(identity.subject), "identity")
        return identity

    def describe_client(self, request: Request) -> str:
        """Where a request comes from, for the log: the peer, and in front of it what trusted proxies say."""
        peer = f"{request.client.host}:{request.client.port}" if request.client else "unknown"
        if _FORWARDED_HEADER not in request.headers or not request.client:
            return peer
        client = self._find_address(request)
        return peer if client == self._read_address(request.client.host, ()) else f"{client} by {peer}"

    def list_addresses(self, request: Request) -> tuple[str, ...]:
        """Where a request comes from, as far as it can be believed: `ctx.identity.sourceIp`."""
        forwarded = request.headers.getlist(_FORWARDED_HEADER)
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        return self._trace_addresses([*hops, request.client.host if request.client else "unix"])

    async def _hold(self, request: Request, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                # What is left of the body is thrown away: unread, it would hide that the client has gone.
                while (await request.receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            pass
        finally:
            self._refusals.release()

    def _check(self, excess: Excess | None, kind: str) -> None:
        if excess is not None:
            self._metrics.refusals[f"max-requests-per-second-per-{kind}"] += 1
            raise TooManyRequests(excess.message, excess.retry_after_seconds)

    def _find_address(self, request: Request) -> str:
        peer = request.client.host if request.client else "unix"
        return self._read_address(peer, request.headers.getlist(_FORWARDED_HEADER))


class Unlimited:
    """No limits of requests."""

    counts_requests = False

    def request_from(self, address: str) -> None:
        return None

    def request_by(self, identity: str) -> None:
        return None


def build_open_entrance(metrics: Metrics) -> Entrance:
    """One that limits and holds back nothing: for what stands alone."""
    return Entrance(Refusals(0, 1), Unlimited(), lambda peer, _: peer, metrics)
