"""The client side of `fanout subscribe` and `fanout publish`. Knows no room of the server, only its protocols.

Speaks AppSync's dialect as Amplify does, with the header object as a sub-protocol. Every failure is a
`RemoteError` of one clear line.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from fanout.errors import ConfigurationError, FanoutError

ANSWER_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 2.0
# AppSync's default where `connection_ack` names no timeout.
KEEP_ALIVE_TIMEOUT_SECONDS = 300.0
# Far above any payload limit in use, and still a bound.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_ID = "1"
_MAX_SHOWN_CHARACTERS = 500


class RemoteError(FanoutError):
    """The service refused, could not be reached, or went away.

    Args:
        message: one line that says what happened, with the service's own words where it sent some.
        error_type: AppSync's `errorType`, or empty.
    """

    def __init__(self, message: str, *, error_type: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Where the service is: `base` is the URL without path, `host` is `name[:port]` as in AppSync's header object."""

    base: str
    host: str
    path: str
    is_tls: bool
    is_loopback: bool

    @property
    def websocket_url(self) -> str:
        return f"{'wss' if self.is_tls else 'ws'}://{self.host}{self.path}"


async def subscribe(
    url: str,
    api_key: str,
    query: str,
    variables: Mapping[str, Any] | None = None,
    operation_name: str | None = None,
    *,
    token: str = "",
    verify: ssl.SSLContext | None = None,
    on_subscribed: Callable[[], None] | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """Subscribe, and yield each payload (`{"data": ..., "errors"?: ...}`) as it comes, until the service completes.

    Closing the generator ends the subscription and its connection.

    Args:
        url: `http(s)://host:port`; without a path, `/graphql` is used.
        token: what to send as `Authorization` in place of the key: a JWT, or a token for an authorizer function.
        verify: what to trust for https; None for the system's authorities.
        on_subscribed: called once when the service has acknowledged: events published from now on will come.

    Raises:
        ConfigurationError: a URL, key or data that cannot be used.
        RemoteError: anything else, also a connection that ends while the subscription lives.
    """
    endpoint = _parse_url(url)
    _check_key(token or api_key)
    credential = {"Authorization": token} if token else {"x-api-key": api_key}
    authorization = {"host": endpoint.host, **credential}
    async with _connect(endpoint, authorization, verify) as connection:
        keep_alive_seconds = await _initialize(connection)
        data: dict[str, Any] = {"query": query, "variables": dict(variables or {})}
        if operation_name is not None:
            data["operationName"] = operation_name
        payload = {"data": _encode(data).decode(), "extensions": {"authorization": authorization}}
        await _send(connection, {"id": _ID, "type": "start", "payload": payload})
        is_acknowledged = False
        while True:
            if is_acknowledged:
                message = await _receive(connection, keep_alive_seconds, "message, not even a keep-alive,")
            else:
                message = await _receive(connection, ANSWER_TIMEOUT_SECONDS, "acknowledgement of the subscription")
            match message:
                case {"type": "data", "payload": dict(received)}:
                    yield received
                case {"type": "start_ack"}:
                    is_acknowledged = True
                    if on_subscribed is not None:
                        on_subscribed()
                case {"type": "error" | "connection_error"}:
                    raise _build_refusal(message.get("payload"), "the service ended the subscription")
                case {"type": "complete"}:
                    return
                case _:
                    # `ka`, and what a later service may add.
                    pass


async def publish(
    url: str,
    publisher_key: str,
    mutation: str,
    data: object,
    *,
    stream: str | None = None,
    verify: ssl.SSLContext | None = None,
) -> list[str]:
    """Publish one event by `POST /events`.

    Args:
        url: `http(s)://host:port`; a path is replaced by `/events`.
        data: the mutation's result, as JSON values.
        stream: the event stream to publish to, where the service has several; None: the one that it chooses.
        verify: what to trust for https; None for the system's authorities.

    Returns:
        The event's id in the stream, as the only element.

    Raises:
        ConfigurationError: a URL, key or data that cannot be used.
        RemoteError: anything else.
    """
    endpoint = _parse_url(url)
    _check_key(publisher_key)
    target = f"{endpoint.base}/events"
    event = {"mutation": mutation, "data": data}
    content = _encode(event if stream is None else {**event, "stream": stream})
    headers = {"x-api-key": publisher_key, "content-type": "application/json"}
    try:
        async with httpx.AsyncClient(
            # A proxy of the environment cannot mean the machine itself.
            verify=verify or True,
            trust_env=not endpoint.is_loopback,
            timeout=ANSWER_TIMEOUT_SECONDS,
        ) as client:
            response = await client.post(target, content=content, headers=headers)
    except httpx.TransportError as error:
        raise RemoteError(_describe_failure(endpoint, _find_cause(error))) from None
    answer = _parse_json(response.content)
    if response.status_code == 202 and isinstance(answer, dict) and isinstance(answer.get("ids"), list):
        return [str(stream_id) for stream_id in answer["ids"]]
    raise _build_refusal(answer, f"{target} answered with HTTP {response.status_code}, not as a Fanout service does")


def _parse_url(url: str) -> _Endpoint:
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not name or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(f"{url!r} is not a URL of a service: give http://HOST:PORT or https://HOST:PORT")
    host = (f"[{name}]" if ":" in name else name) + (f":{port}" if port is not None else "")
    path = parts.path if parts.path not in ("", "/") else "/graphql"
    return _Endpoint(
        base=f"{parts.scheme}://{host}",
        host=host,
        path=f"{path}?{parts.query}" if parts.query else path,
        is_tls=parts.scheme == "https",
        is_loopback=_is_loopback(name),
    )


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _check_key(key: str) -> None:
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the key holds characters that no key has: give it as it was printed")


@asynccontextmanager
async def _connect(
    endpoint: _Endpoint, authorization: Mapping[str, str], verify: ssl.SSLContext | None
) -> AsyncGenerator[ClientConnection, None]:
    header_object = base64.urlsafe_b64encode(orjson.dumps(authorization)).decode().rstrip("=")
    try:
        connection = await connect(
            endpoint.websocket_url,
            subprotocols=[Subprotocol("graphql-ws"), Subprotocol(f"header-{header_object}")],
            compression=None,
            proxy=None if endpoint.is_loopback else True,
            open_timeout=ANSWER_TIMEOUT_SECONDS,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            ssl=(verify or ssl.create_default_context()) if endpoint.is_tls else None,
        )
    except InvalidStatus as error:
        response = error.response
        fallback = f"{endpoint.base}{endpoint.path} answered with HTTP {response.status_code} instead of a WebSocket"
        raise _build_refusal(_parse_json(response.body or b""), fallback) from None
    except (OSError, InvalidHandshake) as error:
        raise RemoteError(_describe_failure(endpoint, error)) from None
    try:
        yield connection
    finally:
        # Not `async with connection`: that tells the service of an internal error when the generator is closed.
        await connection.close()


async def _initialize(connection: ClientConnection) -> float:
    """Have the connection acknowledged; gives the longest silence, in seconds, before it counts as dead."""
    await _send(connection, {"type": "connection_init"})
    while True:
        match await _receive(connection, ANSWER_TIMEOUT_SECONDS, "acknowledgement of the connection"):
            case {"type": "connection_ack", "payload": {"connectionTimeoutMs": int(timeout_ms)}} if timeout_ms > 0:
                return timeout_ms / 1000
            case {"type": "connection_ack"}:
                return KEEP_ALIVE_TIMEOUT_SECONDS
            case {"type": "connection_error" | "error", **rest}:
                raise _build_refusal(rest.get("payload"), "the service refused the connection")
            case _:
                pass


async def _send(connection: ClientConnection, message: Mapping[str, Any]) -> None:
    try:
        await connection.send(orjson.dumps(message).decode())
    except ConnectionClosed:
        # What the service said before it closed, and then the close, come with the next receive.
        pass


async def _receive(connection: ClientConnection, timeout_seconds: float, awaited: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(timeout_seconds):
            text = await connection.recv()
    except TimeoutError:
        raise RemoteError(f"no {awaited} came within {timeout_seconds:g} s; is the service ready (/readyz)?") from None
    except ConnectionClosed as error:
        raise RemoteError(_describe_close(error)) from None
    message = _parse_json(text)
    if not isinstance(message, dict):
        raise RemoteError(f"the service sent what is not a protocol message: {_shorten(str(text))}")
    return message


def _build_refusal(payload: object, fallback: str) -> RemoteError:
    """The service's own words from `{"errors": [{"errorType", "message"}]}`, else the fallback text."""
    listed = payload.get("errors") if isinstance(payload, dict) else None
    # Some versions of AppSync send a single object.
    errors = [error for error in (listed if isinstance(listed, list) else [listed]) if isinstance(error, dict)]
    texts = [str(error.get("message") or error.get("errorType") or "") for error in errors]
    error_type = str(errors[0].get("errorType") or "") if errors else ""
    return RemoteError(_shorten("; ".join(filter(None, texts))) or fallback, error_type=error_type)


def _describe_close(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "the connection to the service was lost"
    reason = f": {_shorten(error.rcvd.reason)}" if error.rcvd.reason else ""
    return f"the service closed the connection with code {error.rcvd.code}{reason}"


def _describe_failure(endpoint: _Endpoint, error: BaseException) -> str:
    base = endpoint.base
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"{base}: its certificate is not trusted ({error.verify_message}): name the CA that signed it with --ca"
            )
        case ssl.SSLError():
            return f"{base}: TLS failed ({error.reason or error}): does the service speak http there?"
        case TimeoutError() | httpx.TimeoutException():
            return f"{base}: no answer within {ANSWER_TIMEOUT_SECONDS:g} s"
        case socket.gaierror():
            return f"{base}: the host name cannot be resolved ({error.strerror})"
        case OSError() if _is_refused(error):
            return f"{base}: connection refused: nothing listens there, start `fanout serve` or check the port"
        case OSError():
            return f"{base}: cannot connect: {error.strerror or _shorten(str(error))}"
        case _:
            what = "https" if not endpoint.is_tls else "http"
            return f"{base}: no valid HTTP answer ({_shorten(str(error))}): does it speak {what} there?"


def _is_refused(error: OSError) -> bool:
    # A name with several addresses gives one error without errno whose text holds all.
    return error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)


def _find_cause(error: BaseException) -> BaseException:
    """The system's error beneath those that libraries raise from one another; the first one if there is none."""
    found: BaseException = error
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, OSError) and (current.errno is not None or not isinstance(found, OSError)):
            found = current
        if isinstance(current, BaseExceptionGroup):
            # One for each address of the name; they hardly ever differ.
            current = current.exceptions[0]
        else:
            current = current.__cause__ or current.__context__
    return found


def _encode(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ConfigurationError(f"the data cannot be sent as JSON: {error}") from None


def _parse_json(text: str | bytes | bytearray) -> Any:
    """The JSON value, or None if it is not JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _shorten(text: str) -> str:
    """One line of bounded length, whatever the service sent."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_SHOWN_CHARACTERS else line[:_MAX_SHOWN_CHARACTERS] + "..."
