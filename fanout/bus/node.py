"""One connection to one Redis server: open, ask, read answers, open again after a loss. Knows no key and no stream.

A `Node` has one owner: a single task sends and receives on it, so that nothing is locked and nothing is retried behind
the owner's back (a retried XADD would be a second event). The connection object is redis-py's, for its handshake, TLS
and URL options; commands are packed by hiredis and answers left as they are on the wire (RESP2), which takes a round
trip from ~160 us with redis-py's client to ~90 us.

Every failure becomes `Unavailable`, in words that never hold the URL's credentials.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError

from fanout.bus.slots import Address
from fanout.bus.topology import Topology
from fanout.errors import ConfigurationError, Unavailable

Argument = str | bytes | int
Command = Sequence[Argument]

ANSWER_TIMEOUT_S = 5.0
_LONGEST_PACKED_BYTES = 256 * 1024

_URL_HELP = (
    "write redis://[user:password@]host:port/db, rediss://... or unix:///path, "
    "with special characters of the password percent-encoded"
)


class AccessRefused(Unavailable):
    """Redis is there, but does not accept the user, password or database of the URL."""


class CommandRefused(Unavailable):
    """Redis answered a command with an error; the connection is still good.

    Args:
        message: where, and what Redis said.
        error: redis-py's, whose class says which kind of error it was.
    """

    def __init__(self, message: str, error: ResponseError) -> None:
        super().__init__(message)
        self.error = error


class Endpoint:
    """Where Redis is: one server, or the first servers to ask of a Redis Cluster.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with redis-py's options in the query string; several `host:port` of
            one cluster are separated by commas.

    Raises:
        ConfigurationError: a URL that cannot be used; its text holds nothing of the URL.
    """

    def __init__(self, url: str) -> None:
        self.topology = Topology()
        try:
            parts = urlsplit(url)
            access, at, hosts = parts.netloc.rpartition("@")
            urls = [urlunsplit(parts._replace(netloc=f"{access}{at}{host}")) for host in hosts.split(",")]
            self._seeds = [_read_url(url) for url in urls]
            self.address = _describe(parts.scheme, self._seeds[0][1])
            self._scheme = parts.scheme if parts.scheme != "unix" else "redis"
            for number in range(self.seed_count):
                self.connect_seed(number, "check")
        except (ValueError, TypeError):
            # Neither library's text is passed on: for a password with a slash in it, it quotes a part of that.
            raise ConfigurationError(f"redis_url: not a usable Redis URL: {_URL_HELP}") from None

    @property
    def seed_count(self) -> int:
        """How many servers the URL names."""
        return len(self._seeds)

    def connect_seed(self, number: int, name: str) -> AbstractConnection:
        """A connection object to a server that the URL names, not open yet; `name` is shown by `CLIENT LIST`."""
        connection_class, options = self._seeds[number]
        return _connect(connection_class, options, name)

    def connect(self, address: Address, name: str) -> AbstractConnection:
        """A connection object to a server of the cluster, with the URL's user, password and options."""
        connection_class, options = self._seeds[0]
        if issubclass(connection_class, UnixDomainSocketConnection):
            connection_class = Connection
        options = {key: value for key, value in options.items() if key != "path"}
        return _connect(connection_class, {**options, "host": address[0], "port": address[1]}, name)

    def describe_seed(self, number: int) -> str:
        """The address of a server that the URL names, as it may be shown."""
        return _describe(self._scheme, self._seeds[number][1])

    def describe(self, address: Address) -> str:
        """An address of the cluster as it may be shown."""
        return f"{self._scheme}://{address[0]}:{address[1]}"


class Node:
    """One connection that opens itself when it is needed. Only one task may use it at a time.

    Args:
        connection: of `Endpoint`.
        address: what to call the server in errors.
        lost: called, without arguments, when an open connection breaks.
    """

    def __init__(self, connection: AbstractConnection, address: str, lost: Callable[[], None] | None = None) -> None:
        self._connection = connection
        self._lost = lost
        self._owed = 0
        self.address = address

    @property
    def is_at_end(self) -> bool:
        """Whether the other side has closed the open connection, which `send` would find out."""
        reader = getattr(self._connection, "_reader", None)  # there is no public way to see that without reading
        return reader is not None and reader.at_eof()

    async def send(self, commands: Sequence[Command]) -> None:
        """Send commands without waiting for answers; `receive` has to follow. Opens the connection if need be.

        Raises:
            Unavailable: no connection. It is unknown which commands are executed.
        """
        if self._owed:
            # The owner was interrupted between sending and receiving: these answers are nobody's.
            await self.close()
        connection = self._connection
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                # Bytes that nobody asked for, or an end of file that came while the connection was idle.
                if connection.is_connected and await connection.can_read():
                    await self._break()
                if not connection.is_connected:
                    await self._open()
                self._owed = len(commands)
                for packed in _pack(commands):
                    await connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError) as error:
            raise await self._failed(error) from None

    async def receive(self, wait_ms: int = 0) -> tuple[list[Any], bool]:
        """Return the answers to what was sent, in order, and whether a `CommandRefused` is among them.

        Args:
            wait_ms: how long the commands themselves may block.

        Raises:
            Unavailable: the connection broke, or no answer in time.
        """
        connection = self._connection
        answers: list[Any] = []
        is_refused = False
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S + wait_ms / 1000):
                while self._owed:
                    try:
                        answers.append(await connection.read_response(timeout=math.inf))
                    except ReadOnlyError:
                        raise  # it has become a replica: whoever answers the address next is asked again
                    except ResponseError as error:
                        is_refused = True
                        answers.append(CommandRefused(f"Redis at {self.address} refused a command: {error}", error))
                    self._owed -= 1
        except (RedisError, OSError) as error:
            raise await self._failed(error) from None
        return answers, is_refused

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
                f"Redis at {self.address} refuses the user, password or database of redis_url: {error}"
            ) from None

    async def _failed(self, error: Exception) -> Unavailable:
        was_connected = self._owed > 0
        await self._break(notify=was_connected)
        if isinstance(error, TimeoutError):  # asyncio's; redis-py's own says what it waited for
            return Unavailable(f"Redis at {self.address} did not answer within {ANSWER_TIMEOUT_S:g} s")
        # redis-py wraps the system's words in the address once more.
        words = [cause.strerror for cause in _list_causes(error) if isinstance(cause, OSError) and cause.strerror]
        return Unavailable(f"Redis at {self.address} cannot be reached: {words[0] if words else error}")

    async def _break(self, notify: bool = True) -> None:
        self._owed = 0
        await self._connection.disconnect(nowait=True)
        if notify and self._lost is not None:
            self._lost()


def _read_url(url: str) -> tuple[type[AbstractConnection], dict[str, Any]]:
    options: dict[str, Any] = dict(parse_url(url))
    connection_class: type[AbstractConnection] = options.pop("connection_class", Connection)
    if connection_class is UnixDomainSocketConnection and not options.get("path"):
        raise ValueError("no path")
    return connection_class, options


def _connect(connection_class: type[AbstractConnection], options: dict[str, Any], name: str) -> AbstractConnection:
    # No timeouts of redis-py's own: it would wrap every single write and read in one. Nodes time whole calls.
    return connection_class(
        **{**options, "protocol": 2, "socket_timeout": None, "socket_connect_timeout": ANSWER_TIMEOUT_S},
        client_name=name,
    )


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
    if "path" in options:
        return f"unix://{options['path']}"
    return f"{scheme}://{options.get('host', 'localhost')}:{options.get('port', 6379)}"


def _list_causes(error: BaseException) -> list[BaseException]:
    """An error and what it was raised from."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    return causes
