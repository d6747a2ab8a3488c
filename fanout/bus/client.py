"""Connections to Redis: open, ask, read answers, open again after a loss. Knows no key and no stream.

A `Link` is one connection with one owner: a single task sends and receives on it, so that nothing is locked and
nothing is retried behind the owner's back (a retried XADD would be a second event). The connection object is
redis-py's, for its handshake, TLS and URL options; commands are packed by hiredis and answers left as they are on the
wire (RESP2), which takes a round trip from ~160 us with redis-py's client to ~90 us.

Every failure becomes `Unavailable`, in words that never hold the URL's credentials.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError

from fanout.errors import ConfigurationError, Unavailable

Argument = str | bytes | int
Command = Sequence[Argument]

_ANSWER_TIMEOUT_S = 5.0
_LONGEST_PACKED_BYTES = 256 * 1024

_URL_HELP = (
    "write redis://[user:password@]host:port/db, rediss://... or unix:///path, "
    "with special characters of the password percent-encoded"
)


class AccessRefused(Unavailable):
    """Redis is there, but does not accept the user, password or database of the URL."""


class CommandRefused(Unavailable):
    """Redis answered a command with an error; the connection is still good."""


class Endpoint:
    """Where Redis is.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with redis-py's options in the query string.

    Raises:
        ConfigurationError: a URL that cannot be used; its text holds nothing of the URL.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            options: dict[str, Any] = dict(parse_url(url))
            # Neither library's text is passed on: for a password with a slash in it, it quotes a part of that.
            self._connection_class: type[AbstractConnection] = options.pop("connection_class", Connection)
            if parts.scheme == "unix" and not options.get("path"):
                raise ValueError("no path")
            self._options = options
            self.address = _describe(parts.scheme, options)
            self.connect("check")
        except (ValueError, TypeError):
            raise ConfigurationError(f"redis_url: not a usable Redis URL: {_URL_HELP}") from None

    def connect(self, name: str) -> AbstractConnection:
        """A connection object that is not open yet; `name` is shown by `CLIENT LIST`."""
        # No timeouts of redis-py's own: it would wrap every single write and read in one. Links time whole calls.
        return self._connection_class(
            **{**self._options, "protocol": 2, "socket_timeout": None, "socket_connect_timeout": _ANSWER_TIMEOUT_S},
            client_name=name,
        )


class Link:
    """One connection that opens itself when it is needed. Only one task may use it at a time.

    Args:
        endpoint: where to.
        name: shown by `CLIENT LIST`.
        lost: called, without arguments, when an open connection breaks.
    """

    def __init__(self, endpoint: Endpoint, name: str, lost: Callable[[], None] | None = None) -> None:
        self._endpoint = endpoint
        self._connection = endpoint.connect(name)
        self._lost = lost
        self._owed = 0

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        """Send commands in one go and return their answers in order, as RESP2 has them (bytes, int, None, lists).

        Args:
            commands: each a sequence of arguments.
            wait_ms: how long the commands themselves may block.
            refusable: error answers to so many of the first commands are returned in their place, as a
                `CommandRefused`, instead of being raised.

        Raises:
            Unavailable: no connection, or no answer in time. It is unknown which commands were executed.
            CommandRefused: Redis answered a command with an error; the other commands were executed.
        """
        await self.send(commands)
        return await self.receive(wait_ms=wait_ms, refusable=refusable)

    async def send(self, commands: Sequence[Command]) -> None:
        """Send commands without waiting for answers; `receive` has to follow. Opens the connection if need be."""
        if self._owed:
            # The owner was interrupted between sending and receiving: these answers are nobody's.
            await self.close()
        connection = self._connection
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                # Bytes that nobody asked for, or an end of file that came while the link was idle.
                if connection.is_connected and await connection.can_read():
                    await self._break()
                if not connection.is_connected:
                    await self._open()
                self._owed = len(commands)
                for packed in _pack(commands):
                    await connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError) as error:
            raise await self._failed(error) from None

    async def receive(self, *, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        """Return the answers to what was sent; see `call`."""
        connection = self._connection
        answers: list[Any] = []
        refused: CommandRefused | None = None
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S + wait_ms / 1000):
                while self._owed:
                    try:
                        answers.append(await connection.read_response(timeout=math.inf))
                    except ReadOnlyError:
                        raise  # it has become a replica: whoever answers the address next is asked again
                    except ResponseError as error:
                        answer = CommandRefused(f"Redis at {self._endpoint.address} refused a command: {error}")
                        if len(answers) >= refusable:
                            refused = refused or answer
                        answers.append(answer)
                    self._owed -= 1
        except (RedisError, OSError) as error:
            raise await self._failed(error) from None
        if refused is not None:
            raise refused
        return answers

    async def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._owed = 0
        try:
            await self._connection.disconnect()
        except (RedisError, OSError):
            pass  # it is gone either way

    async def _open(self) -> None:
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
        except RedisError as error:
            # redis-py wraps what the server says to AUTH and SELECT in an error of the connection.
            if not isinstance(error.__cause__ or error, AuthenticationError | ResponseError):
                raise
            raise AccessRefused(
                f"Redis at {self._endpoint.address} refuses the user, password or database of redis_url: {error}"
            ) from None

    async def _failed(self, error: Exception) -> Unavailable:
        was_connected = self._owed > 0
        await self._break(notify=was_connected)
        address = self._endpoint.address
        if isinstance(error, TimeoutError):  # asyncio's; redis-py's own says what it waited for
            return Unavailable(f"Redis at {address} did not answer within {_ANSWER_TIMEOUT_S:g} s")
        # redis-py wraps the system's words in the address once more.
        words = [cause.strerror for cause in _list_causes(error) if isinstance(cause, OSError) and cause.strerror]
        return Unavailable(f"Redis at {address} cannot be reached: {words[0] if words else error}")

    async def _break(self, notify: bool = True) -> None:
        self._owed = 0
        await self._connection.disconnect(nowait=True)
        if notify and self._lost is not None:
            self._lost()


class Backoff:
    """Growing pauses between attempts, from 20 ms to 1 s. A deployment has few gateways, so there is no jitter."""

    _FIRST_S = 0.02
    _LONGEST_S = 1.0

    def __init__(self) -> None:
        self._next_s = self._FIRST_S

    async def pause(self) -> None:
        """Wait before the next attempt."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._LONGEST_S)
        await asyncio.sleep(pause_s)

    def reset(self) -> None:
        """An attempt went well: the next pause is a short one."""
        self._next_s = self._FIRST_S


def _pack(commands: Sequence[Command]) -> list[bytes]:
    """Pack in pieces of bounded size, so that the kernel's buffer and not ours holds back a large batch."""
    pieces: list[bytes] = []
    pending: list[bytes] = []
    size = 0
    for command in commands:
        packed = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # its stub knows 1-tuples only
        pending.append(packed)
        size += len(packed)
        if size > _LONGEST_PACKED_BYTES:
            pieces.append(b"".join(pending))
            pending.clear()
            size = 0
    if pending:
        pieces.append(b"".join(pending))
    return pieces


def _describe(scheme: str, options: dict[str, Any]) -> str:
    if scheme == "unix":
        return f"unix://{options['path']}"
    return f"{scheme}://{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _list_causes(error: BaseException) -> list[BaseException]:
    """An error and what it was raised from."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return causes
