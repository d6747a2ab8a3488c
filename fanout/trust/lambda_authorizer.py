"""AWS_LAMBDA: an authorizer function is asked whose a token is. Knows no connection.

As in AppSync: an answer can be kept per token, whatever the token was shown for; everything but a good answer that
says so means Unauthorized. What differs is that an operator is told what is wrong with the authorizer. An explicit
`false` is nothing wrong, and told at debug level only.

What was let in stays in, as in AppSync: how long an answer is kept says nothing about connections.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Protocol

import httpx

from fanout.auth import Decision
from fanout.auth.api_keys import name_digest
from fanout.auth.lambda_messages import Answer, BadAnswer, read_answer, write_request
from fanout.auth_settings import LambdaSettings
from fanout.errors import ConfigurationError, Unauthorized, Unavailable
from fanout.log_limit import LogLimit
from fanout.model import AuthMode, Call, Identity
from fanout.schema.lru import Lru
from fanout.trust.authorizer_functions import AskFailed, PythonFunction, UrlFunction

logger = logging.getLogger("fanout.trust")

MAX_CALLS = 64
"""Calls under way. The pool of connections that key sets are fetched with too has 100."""
MAX_CALLS_PER_ADDRESS = 16
"""Of those, for callers from one address: whoever asks a lot, with wrong tokens too, waits behind himself."""
MAX_WAITING = 10_000
"""Calls that wait for one of those to end."""
MAX_WAITING_PER_ADDRESS = 2_500
"""Of those, for callers from one address."""
MAX_TOKEN_LENGTH = 16_384
"""Characters: more than proxies and AppSync let through, and what an expression may have to look at."""
NOT_KEPT_BYTES = 1_048_576
"""Answers that are as long are not kept (AppSync guide)."""

# Of good answers, and as much again of refusals: guesses must not drive out what is good.
_KEPT_ENTRIES = 10_000
_KEPT_BYTES = 16 * 1024 * 1024
# What an entry takes beside the context: identity, key, dict entries.
_ENTRY_BYTES = 700

_API_ID = "fanout"


class _Share:
    """What callers from one address have of the calls, while there are any."""

    __slots__ = ("turns", "users", "waiting")

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(MAX_CALLS_PER_ADDRESS)
        self.users = 0
        self.waiting = 0


class Function(Protocol):
    """A way to ask; see `fanout.trust.authorizer_functions`."""

    name: str
    """What it is called in the log; no secret."""

    async def ask(self, body: bytes) -> bytes:
        """The answer. Raises AskFailed, or Unavailable where it is asked too much at once."""
        ...


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What was found: who it is, or None, and whether that holds for others with the same token."""

    identity: Identity | None
    is_shared: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    identity: Identity | None
    until: float


_OVER = _Kept(None, -inf)

ReadAddress = Callable[[str, Iterable[str]], str]
"""The client's address, as limits count it: of the peer and what proxies say."""


def read_peer(peer: str, forwarded: Iterable[str]) -> str:
    """The other end itself: a `ReadAddress` that believes no proxy."""
    del forwarded
    return peer


class _Flight:
    """A call whose answer several wait for."""

    __slots__ = ("task", "waiting")

    def __init__(self, task: asyncio.Task[_Verdict]) -> None:
        self.task = task
        self.waiting = 0


class LambdaAuthorizer:
    """The provider of AWS_LAMBDA.

    A token whose answer is kept is decided at once, in 2 to 4 us (`tests.bench.measure_modules`).

    Args:
        settings: how long an answer may take and is kept, which tokens are not asked about.
        function: is asked.
        clock: seconds that only go forward.
        read_address: whose share of the calls a call takes.

    Raises:
        ConfigurationError: a bad regular expression.
    """

    mode = AuthMode.LAMBDA

    def __init__(
        self,
        settings: LambdaSettings,
        function: Function,
        clock: Callable[[], float] = time.monotonic,
        read_address: ReadAddress = read_peer,
    ) -> None:
        self._expression = _compile(settings.identity_validation_expression)
        self._settings = settings
        self._function = function
        self._clock = clock
        self._read_address = read_address
        self._good: Lru[bytes, _Kept] = Lru(_KEPT_ENTRIES, _KEPT_BYTES)
        self._refused: Lru[bytes, _Kept] = Lru(_KEPT_ENTRIES, _KEPT_BYTES)
        self._flights: dict[bytes, _Flight] = {}
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._shares: dict[str, _Share] = {}
        self._waiting = 0
        self._log_limit = LogLimit(now=clock)

    def recognizes(self, call: Call) -> bool:
        """Any `Authorization`: whoever could have read it is asked before."""
        return bool(call.headers.get("authorization"))

    def decide(self, call: Call) -> Decision:
        """Who it is: at once where that is kept, else when the function has answered.

        Raises:
            Unauthorized: at once, or when awaited; also when there is no answer, as in AppSync.
            BadRequest: when awaited: what is asked for cannot be told to the function.
            Unavailable: when awaited: the function is asked too much at once.
        """
        token = call.headers["authorization"]
        try:
            digest = sha256(token.encode()).digest()
        except UnicodeEncodeError:
            raise Unauthorized from None
        for answers in (self._good, self._refused):
            kept = answers.get(digest)
            if kept is not None and self._clock() < kept.until:
                return _admit(kept.identity)
        if len(token) > MAX_TOKEN_LENGTH or (self._expression and not self._expression.fullmatch(token)):
            raise Unauthorized
        return self._find_out(call, token, digest)

    def holds(self, identity: Identity) -> bool:
        """As long as there is an authorizer at all: it is not asked again about those who are in."""
        return True

    async def _find_out(self, call: Call, token: str, digest: bytes) -> Identity:
        if not self._settings.ttl_seconds:
            return _admit((await self._ask(call, self._write(call, token), digest)).identity)
        flight = self._flights.get(digest)
        is_first = flight is None
        if flight is None:
            # Written outside of it: what is wrong with one's variables is no answer to others with the same token.
            asking = self._ask(call, self._write(call, token), digest)
            flight = self._flights[digest] = _Flight(asyncio.create_task(asking))
        flight.waiting += 1
        try:
            verdict = await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()  # nothing happens where it is done
            if (flight.task.done() or not flight.waiting) and self._flights.get(digest) is flight:
                del self._flights[digest]
        if not is_first and not verdict.is_shared:
            verdict = await self._ask(call, self._write(call, token), digest)
        return _admit(verdict.identity)

    def _write(self, call: Call, token: str) -> bytes:
        api_id = self._settings.api_id or _API_ID
        return write_request(call, token, str(uuid.uuid4()), api_id, self._settings.account_id)

    async def _ask(self, call: Call, request: bytes, digest: bytes) -> _Verdict:
        *hops, peer = call.addresses or ("unix",)
        address = self._read_address(peer, hops)
        share = self._shares.setdefault(address, _Share())
        share.users += 1
        try:
            await self._take_turn(share)
            try:
                return await self._ask_now(request, digest)
            finally:
                self._calls.release()
                share.turns.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[address]

    async def _ask_now(self, request: bytes, digest: bytes) -> _Verdict:
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                body = await self._function.ask(request)
            answer = read_answer(body, self._settings.api_id)
        except TimeoutError:
            self._complain(f"no answer within {self._settings.timeout_ms} ms")
        except AskFailed as error:
            self._complain(str(error))
        except Unavailable as error:
            self._complain(str(error))
            raise
        except BadAnswer as error:
            self._complain(f"its answer is no authorizer's: {error}")
        else:
            return self._keep(answer, digest, len(body))
        return _Verdict(None, is_shared=True)

    async def _take_turn(self, share: _Share) -> None:
        if self._waiting >= MAX_WAITING or share.waiting >= MAX_WAITING_PER_ADDRESS:
            raise Unavailable("the authorizer is asked too much at once")
        self._waiting += 1
        share.waiting += 1
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                await share.turns.acquire()
                try:
                    await self._calls.acquire()
                except BaseException:
                    share.turns.release()
                    raise
        except TimeoutError:
            self._complain(
                f"{MAX_CALLS} calls are under way, or {MAX_CALLS_PER_ADDRESS} for one address; others waited too long "
                "for one of them to end"
            )
            raise Unavailable("the authorizer is asked too much at once") from None
        finally:
            self._waiting -= 1
            share.waiting -= 1

    def _keep(self, answer: Answer, digest: bytes, size: int) -> _Verdict:
        identity = None
        if answer.is_authorized:
            claims = {"resolverContext": answer.resolver_context}
            identity = Identity(AuthMode.LAMBDA, claims, name_digest(digest), policy=answer.policy)
        else:
            logger.debug("the authorizer %s says no", self._function.name)
        ttl_s = self._settings.ttl_seconds if answer.ttl_s is None else answer.ttl_s
        if not ttl_s or size >= NOT_KEPT_BYTES:
            return _Verdict(identity, is_shared=False)
        kept = _Kept(identity, self._clock() + ttl_s)
        answers, others = (self._refused, self._good) if identity is None else (self._good, self._refused)
        answers.put(digest, kept, _weigh(answer))
        if others.get(digest) is not None:
            others.put(digest, _OVER, _ENTRY_BYTES)
        return _Verdict(identity, is_shared=True)

    def _complain(self, problem: str) -> None:
        if (held_back := self._log_limit.admit()) is not None:
            more = f" ({held_back} more such lines were held back)" if held_back else ""
            logger.warning("nobody is let in by the authorizer %s: %s%s", self._function.name, problem, more)


def build_lambda_authorizer(
    settings: LambdaSettings, http: httpx.AsyncClient, read_address: ReadAddress = read_peer
) -> LambdaAuthorizer:
    """The provider that settings describe.

    Args:
        settings: have either `url` or `function`.
        http: for the calls of a URL; closed by whoever made it.
        read_address: whose share of the calls a call takes.

    Raises:
        ConfigurationError: a setting that cannot be used.
    """
    url = settings.url
    function: Function = PythonFunction(settings.function or "") if url is None else UrlFunction(url, http)
    return LambdaAuthorizer(settings, function, read_address=read_address)


def _compile(expression: str) -> re.Pattern[str] | None:
    try:
        return re.compile(expression) if expression else None
    except re.error as error:
        raise ConfigurationError(
            f"lambda_authorizer.identity_validation_expression: not a regular expression: {error}"
        ) from None


def _admit(identity: Identity | None) -> Identity:
    if identity is None:
        raise Unauthorized
    return identity


def _weigh(answer: Answer) -> int:
    """About how many bytes an answer takes in memory; it is flat."""
    context = answer.resolver_context
    denied = answer.policy.deny if answer.policy else ()
    members = (*context.keys(), *context.values(), *denied)
    return _ENTRY_BYTES + sys.getsizeof(context) + sum(map(sys.getsizeof, members)) + 8 * len(denied)
