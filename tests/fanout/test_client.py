"""The command line's client: its side of AppSync's dialect, and one clear line for whatever goes wrong.

The service is played by `websockets`' own server and by a socket that answers as told, so that each fault can
be produced; the real service is met in the tests of the commands.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from fanout import client
from fanout.client import RemoteError, publish, subscribe
from fanout.development_tls import create_development_certificate
from fanout.errors import ConfigurationError
from tests.listener import accepting, find_port, listen_on_loopback

QUERY = "subscription S($room: ID!) { onCreateMessage(roomId: $room) { id } }"
KEY = "da2-abcdefghijklmnopqrstuvwxyz"
ACK = {"type": "connection_ack", "payload": {"connectionTimeoutMs": 300000}}
KEEP_ALIVE = {"type": "ka"}
START_ACK = {"type": "start_ack", "id": "1"}

Play = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def _playing(play: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async with serve(play, "127.0.0.1", 0, subprotocols=[Subprotocol("graphql-ws")], ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}"


async def _say(connection: ServerConnection, *messages: object) -> None:
    for message in messages:
        await connection.send(json.dumps(message))


async def _hear(connection: ServerConnection) -> Any:
    return json.loads(await connection.recv())


def _script(*after_start: object, code: int = 1000, reason: str = "") -> Play:
    """A service that accepts everything, says these messages after `start`, and closes."""

    async def play(connection: ServerConnection) -> None:
        await _hear(connection)
        await _say(connection, ACK, KEEP_ALIVE)
        await _hear(connection)
        await _say(connection, *after_start)
        await connection.close(code, reason)

    return play


def _data(number: int) -> dict[str, Any]:
    return {"type": "data", "id": "1", "payload": {"data": {"onCreateMessage": {"id": str(number)}}}}


async def _collect(url: str, **options: Any) -> list[dict[str, Any]]:
    return [payload async for payload in subscribe(url, KEY, QUERY, {"room": "1"}, **options)]


async def test_the_conversation_is_appsyncs() -> None:
    heard: list[Any] = []

    async def play(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        heard.append(request.path)
        offered = request.headers["Sec-WebSocket-Protocol"].split(", ")
        assert offered[0] == "graphql-ws"
        encoded = offered[1].removeprefix("header-")
        assert "=" not in encoded
        heard.append(json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))))
        heard.append(await _hear(connection))
        await _say(connection, KEEP_ALIVE, ACK, KEEP_ALIVE)
        heard.append(await _hear(connection))
        await _say(
            connection, START_ACK, _data(1), KEEP_ALIVE, {"type": "news"}, _data(2), {"type": "complete", "id": "1"}
        )

    acknowledged: list[bool] = []
    async with _playing(play) as url:
        payloads = [
            payload
            async for payload in subscribe(
                url, KEY, QUERY, {"room": "é"}, "S", on_subscribed=lambda: acknowledged.append(True)
            )
        ]
    assert payloads == [_data(1)["payload"], _data(2)["payload"]]
    assert acknowledged == [True]
    authorization = {"host": url.removeprefix("http://"), "x-api-key": KEY}
    path, header_object, init, start = heard
    assert path == "/graphql"
    assert header_object == authorization
    assert init == {"type": "connection_init"}
    assert (start["type"], start["id"]) == ("start", "1")
    assert start["payload"]["extensions"] == {"authorization": authorization}
    assert isinstance(start["payload"]["data"], str)
    assert json.loads(start["payload"]["data"]) == {"query": QUERY, "variables": {"room": "é"}, "operationName": "S"}


async def test_a_path_of_the_url_is_kept() -> None:
    paths: list[str] = []

    async def play(connection: ServerConnection) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)

    async with _playing(play) as url:
        for path in ("", "/", "/graphql/realtime?x=1"):
            with pytest.raises(RemoteError):
                await _collect(url + path)
    assert paths == ["/graphql", "/graphql", "/graphql/realtime?x=1"]


async def test_closing_the_generator_closes_the_connection() -> None:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def play(connection: ServerConnection) -> None:
        await _hear(connection)
        await _say(connection, ACK)
        await _hear(connection)
        await _say(connection, START_ACK, _data(1))
        await connection.wait_closed()
        ended.set_result(connection.close_code or 0)

    async with _playing(play) as url, aclosing(subscribe(url, KEY, QUERY)) as events:
        assert await anext(events) == _data(1)["payload"]
        await events.aclose()
        assert await ended == 1000


async def test_partial_data_is_passed_on_with_its_errors() -> None:
    payload = {"data": {"onCreateMessage": None}, "errors": [{"message": "Cannot return null"}]}
    async with _playing(_script({"type": "data", "id": "1", "payload": payload}, {"type": "complete"})) as url:
        assert await _collect(url) == [payload]


@pytest.mark.parametrize(
    ("payload", "message", "error_type"),
    [
        (
            {
                "errors": [
                    {"errorType": "UnauthorizedException", "message": "You are not authorized.", "errorCode": 401}
                ]
            },
            "You are not authorized.",
            "UnauthorizedException",
        ),
        ({"errors": [{"errorType": "Unauthorized", "errorCode": 401}]}, "Unauthorized", "Unauthorized"),
        ({"errors": [{"message": "one"}, {"message": "two\nlines"}]}, "one; two lines", ""),
        ({"errors": {"errorType": "MaxSubscriptionsReachedError"}}, *["MaxSubscriptionsReachedError"] * 2),
        ({"errors": []}, None, ""),
        ({"errors": ["text"]}, None, ""),
        ({}, None, ""),
        (None, None, ""),
        ({"errors": [{"message": "x" * 1000}]}, "x" * 500 + "...", ""),
    ],
)
async def test_refusals_are_in_the_services_words(payload: object, message: str | None, error_type: str) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await _hear(connection)
        await _say(connection, {"type": "connection_error", "payload": payload})

    async with _playing(refuse) as url:
        with pytest.raises(RemoteError) as at_init:
            await _collect(url)
    async with _playing(_script({"type": "error", "id": "1", "payload": payload})) as url:
        with pytest.raises(RemoteError) as at_start:
            await _collect(url)
    assert at_init.value.message == (message or "the service refused the connection")
    assert at_start.value.message == (message or "the service ended the subscription")
    assert at_init.value.error_type == at_start.value.error_type == error_type


async def test_a_close_is_told_with_its_code_and_reason() -> None:
    async with _playing(_script(START_ACK, code=4603, reason="client reads too slowly")) as url:
        with pytest.raises(
            RemoteError, match=r"^the service closed the connection with code 4603: client reads too slowly$"
        ):
            await _collect(url)


async def test_events_before_the_connection_ends_are_not_lost() -> None:
    play = _script(START_ACK, *map(_data, range(50)), code=1012)
    async with _playing(play) as url, aclosing(subscribe(url, KEY, QUERY)) as events:
        assert [await anext(events) for _ in range(50)] == [_data(number)["payload"] for number in range(50)]
        with pytest.raises(RemoteError, match="code 1012"):
            await anext(events)


async def test_a_lost_connection_is_told() -> None:
    async def vanish(connection: ServerConnection) -> None:
        await _hear(connection)
        await _say(connection, ACK)
        await _hear(connection)
        connection.transport.abort()

    async with _playing(vanish) as url:
        with pytest.raises(RemoteError, match=r"^the connection to the service was lost$"):
            await _collect(url)


async def test_a_token_takes_the_place_of_the_key() -> None:
    heard: list[Any] = []

    async def play(connection: ServerConnection) -> None:
        assert connection.request is not None
        encoded = connection.request.headers["Sec-WebSocket-Protocol"].split("header-")[1]
        heard.append(json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))))
        await _hear(connection)
        await _say(connection, ACK)
        heard.append((await _hear(connection))["payload"]["extensions"]["authorization"])
        await _say(connection, START_ACK, {"type": "complete", "id": "1"})

    async with _playing(play) as url:
        assert await _collect(url, token="a.b.c") == []
    authorization = {"host": url.removeprefix("http://"), "Authorization": "a.b.c"}
    assert heard == [authorization, authorization]


async def test_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_TIMEOUT_SECONDS", 0.05)

    async def ignore(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def ignore_start(connection: ServerConnection) -> None:
        await _say(connection, {"type": "connection_ack"})
        await connection.wait_closed()

    async def stop_after_ack(connection: ServerConnection) -> None:
        await _say(connection, {"type": "connection_ack", "payload": {"connectionTimeoutMs": 60}}, START_ACK)
        await connection.wait_closed()

    for play, message in (
        (ignore, r"no acknowledgement of the connection came within 0\.05 s"),
        (ignore_start, r"no acknowledgement of the subscription came within 0\.05 s; is the service ready"),
        (stop_after_ack, r"no message, not even a keep-alive, came within 0\.06 s"),
    ):
        async with _playing(play) as url:
            with pytest.raises(RemoteError, match=message):
                await _collect(url)


@pytest.mark.parametrize("text", ["<html>", "[]", "1"])
async def test_what_is_no_protocol_is_told(text: str) -> None:
    async def play(connection: ServerConnection) -> None:
        await connection.send(text)

    async with _playing(play) as url:
        with pytest.raises(RemoteError, match="the service sent what is not a protocol message"):
            await _collect(url)


# --- HTTP, and servers that are not there or not ours


class _Answering:
    """A socket that answers every HTTP request with the same bytes and keeps what it was sent."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.request = b""
        self.url = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> _Answering:
        listening = listen_on_loopback()
        self.url = f"http://127.0.0.1:{find_port(listening)}"
        await self._stack.enter_async_context(accepting(listening, self._answer))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = await reader.read(65536)
        declared = re.search(rb"(?i)content-length: (\d+)", self.request)
        while declared and len(self.request.partition(b"\r\n\r\n")[2]) < int(declared[1]):
            self.request += await reader.read(65536)
        writer.write(self.answer)


def _http(status: str, body: object) -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text


async def test_publish_sends_one_event() -> None:
    async with _Answering(_http("202 Accepted", {"ids": ["1700000000000-0"]})) as service:
        ids = await publish(service.url + "/graphql", KEY, "createMessage", {"id": "é", "n": 1.0})
    assert ids == ["1700000000000-0"]
    head, _, body = service.request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /events HTTP/1.1\r\n")
    assert f"x-api-key: {KEY}".encode() in head
    assert b"content-type: application/json" in head
    assert json.loads(body) == {"mutation": "createMessage", "data": {"id": "é", "n": 1.0}}


async def test_publish_names_the_stream_that_is_asked_for() -> None:
    async with _Answering(_http("202 Accepted", {"ids": ["1-0"]})) as service:
        await publish(service.url, KEY, "createOrder", {}, stream="orders")
    assert json.loads(service.request.partition(b"\r\n\r\n")[2]) == {
        "mutation": "createOrder",
        "data": {},
        "stream": "orders",
    }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            _http("401 Unauthorized", {"errors": [{"errorType": "U", "message": "You are not authorized."}]}),
            "You are not authorized.",
        ),
        (_http("422 Unprocessable", {"errors": [{"message": "unknown mutation 'x'"}]}), "unknown mutation 'x'"),
        (_http("404 Not Found", b"<html>"), "URL/events answered with HTTP 404, not as a Fanout service does"),
        (_http("200 OK", {"ids": ["1-0"]}), "URL/events answered with HTTP 200, not as a Fanout service does"),
        (_http("202 Accepted", {"ids": None}), "URL/events answered with HTTP 202, not as a Fanout service does"),
    ],
)
async def test_publish_tells_refusals(answer: bytes, message: str) -> None:
    async with _Answering(answer) as service:
        with pytest.raises(RemoteError) as caught:
            await publish(service.url, KEY, "x", {})
    assert caught.value.message == message.replace("URL", service.url)


async def test_subscribe_tells_http_refusals() -> None:
    refusal = {"errors": [{"errorType": "NotFoundException", "message": "nothing is served at this path"}]}
    for answer, message in (
        (_http("404 Not Found", refusal), "nothing is served at this path"),
        (_http("503 Away", b"sorry"), "URL/graphql answered with HTTP 503 instead of a WebSocket"),
    ):
        async with _Answering(answer) as service:
            with pytest.raises(RemoteError) as caught:
                await _collect(service.url)
        assert caught.value.message == message.replace("URL", service.url)


async def _both(url: str, **options: Any) -> list[str]:
    """What subscribing and publishing to this URL are told."""
    with pytest.raises(RemoteError) as subscribing:
        await _collect(url, **options)
    with pytest.raises(RemoteError) as publishing:
        await publish(url, KEY, "createMessage", {}, **options)
    return [subscribing.value.message, publishing.value.message]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_nobody_listens(host: str, unused_tcp_port: int) -> None:
    url = f"http://{host}:{unused_tcp_port}"
    expected = f"{url}: connection refused: nothing listens there, start `fanout serve` or check the port"
    assert await _both(url) == [expected, expected]


async def test_an_unknown_host() -> None:
    for message in await _both("http://nowhere.invalid:8080"):
        assert message.startswith("http://nowhere.invalid:8080: the host name cannot be resolved (")


async def test_a_server_that_is_not_http() -> None:
    async with _Answering(b"+PONG\r\n") as service:
        for message in await _both(service.url):
            assert message.startswith(f"{service.url}: no valid HTTP answer (")
            assert message.endswith("): does it speak https there?")


async def test_a_server_that_hangs_up() -> None:
    async with _Answering(b"") as service:
        for message in await _both(service.url):
            assert message.startswith(f"{service.url}: ")
            assert "\n" not in message


async def test_https_to_a_plain_port() -> None:
    async with _Answering(b"HTTP/1.1 400 Bad\r\n\r\n") as service:
        url = service.url.replace("http:", "https:")
        for message in await _both(url, verify=ssl.create_default_context()):
            assert message.startswith(f"{url}: ")
            assert "does the service speak http there?" in message


def _serving(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    files = create_development_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return context, files.ca


async def test_tls_with_a_ca_of_our_own(tmp_path: Path) -> None:
    accepting, ca = _serving(tmp_path)
    async with _playing(_script(START_ACK, _data(1), {"type": "complete"}), accepting) as url:
        assert await _collect(url, verify=ssl.create_default_context(cafile=str(ca))) == [_data(1)["payload"]]


async def test_a_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    accepting, _ = _serving(tmp_path)
    async with _playing(_script(), accepting) as url:
        for message in await _both(url):
            assert message.startswith(f"{url}: its certificate is not trusted (")
            assert message.endswith("): name the CA that signed it with --ca")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ws://localhost",
        "http://",
        "http://h:99999",
        "http://h:x",
        "http://a b",
        "http://[::1",
        "http://é",
    ],
)
async def test_a_url_that_cannot_be_one(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a URL of a service: give http://HOST:PORT"):
        await _collect(url)
    with pytest.raises(ConfigurationError, match=r"is not a URL of a service: give http://HOST:PORT"):
        await publish(url, KEY, "x", {})


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "a\0"])
async def test_a_key_that_cannot_be_one_is_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^the key holds characters that no key has") as caught:
        await publish("http://localhost:1", key, "x", {})
    assert key not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"^the key holds characters"):
        await anext(subscribe("http://localhost:1", key, QUERY))


async def test_data_that_cannot_be_sent() -> None:
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    with pytest.raises(ConfigurationError, match="the data cannot be sent as JSON: Recursion limit"):
        await publish("http://localhost:1", KEY, "x", nested)


def test_ipv6_and_ports_are_written_as_urls_write_them() -> None:
    endpoint = client._parse_url("https://[::1]:8443/")
    assert (endpoint.host, endpoint.websocket_url) == ("[::1]:8443", "wss://[::1]:8443/graphql")
    assert client._parse_url("http://user:password@Example.com").base == "http://example.com"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1", True),
        ("http://api.localhost", True),
        ("http://127.3.2.1", True),
        ("http://[::1]", True),
        ("http://10.0.0.1", False),
        ("http://example.com", False),
    ],
)
def test_proxies_are_not_for_the_machine_itself(url: str, expected: bool) -> None:
    assert client._parse_url(url).is_loopback is expected


def test_a_name_with_several_addresses_is_refused_by_all_of_them() -> None:
    """As asyncio and anyio tell it; whether a machine's `localhost` has two addresses is not ours to choose."""
    endpoint = client._parse_url("http://localhost:1")
    refusals = [
        ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed ({host!r}, 1)") for host in ("::1", "4")
    ]
    by_asyncio = OSError("Multiple exceptions: " + ", ".join(map(str, refusals)))
    by_anyio = OSError("All connection attempts failed")
    by_anyio.__cause__ = ExceptionGroup("multiple connection attempts failed", refusals)
    by_httpx = httpx.ConnectError("All connection attempts failed")
    by_httpx.__cause__ = by_anyio
    for error in (by_asyncio, client._find_cause(by_httpx)):
        assert client._describe_failure(endpoint, error).startswith("http://localhost:1: connection refused: ")
