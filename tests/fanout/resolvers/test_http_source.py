"""Requests to a real HTTP server on loopback that is slow, wrong, huge, redirecting, down; and what is never sent."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from fanout.resolver_settings import HttpDataSourceSettings
from fanout.resolvers.data_sources import DataSourceError, InvalidRequest
from fanout.resolvers.http_clients import HttpClients
from fanout.resolvers.http_source import HttpSource
from tests.listener import accepting, find_port, listen_on_loopback
from tests.served import wait_until_async

NOW = 1_700_000_000.0
NESTED: Any = orjson.loads("[" * 300 + "]" * 300)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Server:
    """Notes requests as they came, and answers what the test says."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.answer = OK
        self.waits = asyncio.Event()
        self.waits.set()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            length = [int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
            self.requests.append(head + (await reader.readexactly(length[0]) if length else b""))
            await self.waits.wait()
            writer.write(self.answer)
            if b"Connection: close" in self.answer:
                return

    @property
    def request(self) -> tuple[str, dict[str, str], bytes]:
        """The only one: its first line, headers in lower case, body."""
        (raw,) = self.requests
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}, body


@asynccontextmanager
async def open_source(path: str = "", **settings: Any) -> AsyncIterator[tuple[HttpSource, Server]]:
    listening = listen_on_loopback()
    server = Server(find_port(listening))
    client = HttpClients()
    given = {"type": "HTTP", "endpoint": f"http://127.0.0.1:{server.port}{path}"} | settings
    async with accepting(listening, server.converse):
        try:
            yield HttpSource("orders", HttpDataSourceSettings.model_validate(given), client, lambda: NOW), server
        finally:
            server.waits.set()
            await client.close()


async def test_a_request_is_sent_as_it_is_described() -> None:
    async with open_source("/v1/") as (source, server):
        result = await source.invoke(
            {
                "method": "POST",
                "resourcePath": "/users/a b?x=1",
                "params": {
                    "query": {"q": "ä&b", "n": 5, "list": [1, "2"], "none": None, "flag": True},
                    "headers": {"Content-Type": "application/json", "X-Own": " ü "},
                    "body": {"id": 1},
                },
            }
        )
        assert result == {
            "statusCode": 200,
            "headers": {"Content-Length": "2", "Content-Type": "text/plain"},
            "body": "ok",
        }
        first, headers, body = server.request
        assert first == "POST /v1/users/a%20b?x=1&q=%C3%A4%26b&n=5&list=1&list=2&flag=true HTTP/1.1"
        assert body == b'{"id":1}'
        assert headers == {
            "host": f"127.0.0.1:{server.port}",
            "content-type": "application/json",
            "x-own": "ü".encode().decode("latin-1"),
            "user-agent": "fanout",
            "accept-encoding": "gzip",
            "content-length": "8",
        }


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ("text", b"text", None),
        ({"a": 1}, b'{"a":1}', "application/json"),
        (None, b"", None),
        ([1], b"[1]", "application/json"),
    ],
)
async def test_bodies(body: Any, sent: bytes, content_type: str | None) -> None:
    async with open_source() as (source, server):
        await source.invoke({"method": "PUT", "resourcePath": "/", "params": {"body": body}})
        _, headers, received = server.request
        assert (received, headers.get("content-type"), headers["content-length"]) == (
            sent,
            content_type,
            str(len(sent)),
        )


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!", 404, "no!"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=latin-1\r\nContent-Length: 1\r\n\r\n\xfc", 200, "ü"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=nope\r\nContent-Length: 2\r\n\r\n\xc3\xbc", 200, "ü"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, "abc"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"packed"),
            200,
            "packed",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"x" * 200_000),
            200,
            "x" * 200_000,
        ),
    ],
)
async def test_every_status_is_an_answer(answer: bytes, status: int, body: str) -> None:
    async with open_source() as (source, server):
        server.answer = answer
        result = await source.invoke({"method": "GET", "resourcePath": "/"})
        assert (result["statusCode"], result["body"]) == (status, body)
        assert len(server.requests) == 1


async def test_headers_that_come_several_times_are_joined() -> None:
    async with open_source() as (source, server):
        server.answer = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: s=1\r\nContent-Length: 0\r\n\r\n"
        result = await source.invoke({"method": "GET", "resourcePath": "/"})
        assert result["headers"] == {"X-A": "1, 2", "Set-Cookie": "s=1", "Content-Length": "0"}
        await source.invoke({"method": "GET", "resourcePath": "/"})
        assert b"ookie" not in server.requests[1]


async def test_so_many_requests_are_under_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.resolvers.http_clients._AT_ONCE", 3)
    async with open_source(timeout_ms=60_000) as (source, server):
        server.waits.clear()
        asked = [asyncio.ensure_future(source.invoke({"method": "GET", "resourcePath": "/"})) for _ in range(8)]
        await wait_until_async(lambda: len(server.requests) == 3)
        asked[0].cancel()  # who is not waited with any more makes room
        await wait_until_async(lambda: len(server.requests) == 4)
        server.waits.set()
        assert [answer["body"] for answer in await asyncio.gather(*asked[1:])] == ["ok"] * 7
        assert len(server.requests) == 8


async def test_what_follows_the_end_of_a_packed_body_is_not_read() -> None:
    async with open_source(timeout_ms=60_000) as (source, server):
        # It announces more than will ever come.
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999\r\n\r\n" + gzip.compress(
            b"a"
        )
        assert (await source.invoke({"method": "GET", "resourcePath": "/"}))["body"] == "a"


@pytest.mark.parametrize("params", [{"body": NESTED}, {"query": {"a": NESTED}}, {"query": {"a": [NESTED]}}])
async def test_what_is_nested_too_deeply_to_be_written_is_no_request(params: dict[str, Any]) -> None:
    async with open_source() as (source, server):
        with pytest.raises(InvalidRequest, match="nested too deeply"):
            await source.invoke({"method": "POST", "resourcePath": "/", "params": params})
        assert not server.requests


HUGE = 100_000


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE + b"x" * HUGE, "answered with more than 1000 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
            + gzip.compress(b"x" * 50_000_000),
            "answered with more than 1000 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd", "a body that is no gzip"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"abc")[:-9],
            "a body that breaks off",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\na", "in the encoding 'br'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc", "did not answer"),
        (b"nonsense\r\n\r\nConnection: close", "did not answer"),
    ],
    ids=["huge", "bomb", "no-gzip", "half-gzip", "br", "half", "nonsense"],
)
async def test_what_is_wrong_with_an_answer_is_the_sources_failure(answer: bytes, problem: str) -> None:
    async with open_source(max_response_bytes=1000) as (source, server):
        server.answer = answer
        with pytest.raises(DataSourceError) as caught:
            await source.invoke({"method": "GET", "resourcePath": "/secret?key=hush"})
        assert problem in caught.value.message
        assert caught.value.message.startswith("The data source orders ")
        assert "hush" not in caught.value.message
        assert caught.value.type.startswith("DataSource:")


async def test_slow_and_absent_sources() -> None:
    async with open_source(timeout_ms=50) as (source, server):
        server.waits.clear()
        with pytest.raises(DataSourceError, match="did not answer within 50 ms"):
            await source.invoke({"method": "GET", "resourcePath": "/"})
    async with open_source() as (source, _):
        down = source
    with pytest.raises(DataSourceError, match=r"did not answer \(ConnectError\)"):
        await HttpSource("orders", down._settings, HttpClients(), lambda: NOW).invoke(
            {"method": "GET", "resourcePath": "/"}
        )


async def test_credentials_are_in_no_error_and_in_no_representation(caplog: pytest.LogCaptureFixture) -> None:
    signing = {"region": "r", "service": "s", "access_key_id": "AKIAMARKED", "secret_access_key": "hush"}
    caplog.set_level(logging.DEBUG, "fanout")
    async with open_source(signing=signing | {"session_token": "quiet"}, max_response_bytes=1) as (source, server):
        request = {"method": "GET", "resourcePath": "/?key=marked", "params": {"headers": {"X-Key": "secret"}}}
        with pytest.raises(DataSourceError) as caught:
            await source.invoke(request)
        assert b"AKIAMARKED" in server.requests[0]
    with pytest.raises(DataSourceError) as refused:
        await source.invoke(request)
    told = f"{caught.value!r} {refused.value!r} {source._settings!r} {caplog.text}"
    assert not re.search("AKIAMARKED'? |hush|quiet|key=marked|secret'", told.replace("access_key_id='AKIAMARKED'", ""))


async def test_a_source_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time = httpx.Limits(max_connections=1)
    build = httpx.AsyncClient
    monkeypatch.setattr("httpx.AsyncClient", lambda **options: build(limits=one_at_a_time, **options))
    async with open_source() as (slow, server):
        clients = slow._clients
        other = HttpSource("other", slow._settings, clients)
        request = {"method": "GET", "resourcePath": "/"}
        server.waits.clear()
        hung = [asyncio.ensure_future(slow.invoke(request)) for _ in range(2)]
        free = asyncio.ensure_future(other.invoke(request))
        await wait_until_async(lambda: len(server.requests) == 2)
        server.waits.set()
        assert {(await each)["statusCode"] for each in (*hung, free)} == {200}
    with pytest.raises(DataSourceError, match="did not answer"):
        await other.invoke(request)


def path_cases() -> list[str]:
    return [
        "users",
        "",
        "@evil.example.com/",
        ".evil.example.com/",
        ":80@evil.example.com/",
        "//evil.example.com/",
        "/a//b",
        "/\\evil.example.com",
        "/../admin",
        "/a/../../admin",
        "/a/./b",
        "/a/%2e%2e/b",
        "/a/.%2E",
        "/a/..%2Fb",
        "/a/..%5Cb",
        "/a\r\nX-Injected: 1",
        "/a\tb",
        "/a#b",
        "/a%zz",
        "/a%",
        "http://evil.example.com/",
        "https://127.0.0.1@evil.example.com/",
    ]


@pytest.mark.parametrize("path", path_cases())
async def test_a_path_cannot_leave_the_endpoint(path: str) -> None:
    async with open_source("/v1") as (source, server):
        with pytest.raises(InvalidRequest):
            await source.invoke({"method": "GET", "resourcePath": path})
        assert not server.requests


async def test_a_path_can_hold_what_paths_hold() -> None:
    async with open_source("/v1") as (source, server):
        await source.invoke({"method": "GET", "resourcePath": "/a:b@c/ä;d=e,f/.../%2F?u=http://x//y&@=1"})
        first, _, _ = server.request
        assert first == "GET /v1/a:b@c/%C3%A4;d=e,f/.../%2F?u=http%3A%2F%2Fx%2F%2Fy&%40=1 HTTP/1.1"


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (None, "is an object"),
        ([], "is an object"),
        ({"method": "CONNECT", "resourcePath": "/"}, "method has to be one of"),
        ({"method": "get", "resourcePath": "/"}, "method has to be one of"),
        ({"method": "GET"}, "resourcePath has to be text"),
        ({"method": "GET", "resourcePath": "/", "params": []}, None),
        ({"method": "GET", "resourcePath": "/", "params": 5}, "params have to be"),
        ({"method": "GET", "resourcePath": "/", "params": {"headers": ["a"]}}, "params.headers has to be an object"),
        ({"method": "GET", "resourcePath": "/", "params": {"query": "a=b"}}, "params.query has to be an object"),
        *(
            ({"method": "GET", "resourcePath": "/", "params": {"headers": {name: value}}}, problem)
            for name, value, problem in (
                ("x", "a\r\nInjected: 1", "no header can have"),
                ("x", "a\nb", "no header can have"),
                ("x", "a\0b", "no header can have"),
                ("x\r\nInjected: 1", "a", "whose name is none"),
                ("", "a", "whose name is none"),
                ("x y", "a", "whose name is none"),
                ("x", 5, "has to be text"),
                ("Host", "evil", "cannot set the header host"),
                ("Content-Length", "0", "cannot set the header content-length"),
                ("Transfer-Encoding", "chunked", "cannot set the header transfer-encoding"),
            )
        ),
    ],
)
async def test_requests_that_cannot_be_made(request_: Any, problem: str | None) -> None:
    async with open_source() as (source, server):
        if problem is None:
            assert (await source.invoke(request_))["statusCode"] == 200
            return
        with pytest.raises(InvalidRequest, match=problem.replace("(", r"\(")):
            await source.invoke(request_)
        assert not server.requests


async def test_further_hosts_have_to_be_allowed() -> None:
    async with open_source() as (_, other), open_source(allowed_hosts=(f"127.0.0.1:{other.port}",)) as (source, own):
        assert (await source.invoke({"method": "GET", "resourcePath": f"http://127.0.0.1:{other.port}/x"}))[
            "body"
        ] == "ok"
        assert (len(own.requests), len(other.requests)) == (0, 1)
        for target in (
            f"http://127.0.0.1:{other.port}@evil.example.com/",
            f"http://localhost:{other.port}/",
            f"http://127.0.0.1:{other.port + 1}/",
            f"http://127.0.0.1:{other.port}\\@evil/",
            f"ftp://127.0.0.1:{other.port}/",
        ):
            with pytest.raises(InvalidRequest):
                await source.invoke({"method": "GET", "resourcePath": target})


async def test_requests_to_the_endpoint_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.fromtimestamp(NOW, UTC))
    signing = {"region": "eu-west-1", "service": "states", "access_key_id": "AKIA", "secret_access_key": "hush"}
    async with (
        open_source() as (_, other),
        open_source("/v1", signing=signing, allowed_hosts=(f"127.0.0.1:{other.port}",)) as (source, server),
    ):
        await source.invoke(
            {
                "method": "POST",
                "resourcePath": "/ä b",
                "params": {
                    "query": {"b": "/", "a": 1},
                    "headers": {"Authorization": "x", "X-A": "1  2"},
                    "body": {"c": 1},
                },
            }
        )
        first, headers, body = server.request
        target = first.split(" ")[1]
        signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        given = {name: headers[name] for name in signed if name != "x-amz-date"}
        theirs = AWSRequest("POST", f"http://127.0.0.1:{server.port}{target}", headers=given, data=body)
        SigV4Auth(Credentials("AKIA", "hush"), "states", "eu-west-1").add_auth(theirs)
        assert theirs.headers["Authorization"] == headers["authorization"]
        assert signed == ["content-type", "host", "x-a", "x-amz-date"]
        await source.invoke({"method": "GET", "resourcePath": f"http://127.0.0.1:{other.port}/"})
        assert "authorization" not in other.request[1]


PIECES = st.sampled_from(
    ["/", "//", ".", "..", "%2e", "%2F", "%", "@", ":", "\\", "?", "#", "&", "=", "a", "é", " ", "\n", "[", "]"]
)


@given(
    st.lists(PIECES, max_size=12).map("".join), st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2)
)
def test_no_path_leaves_the_endpoint_by_whatever_it_is_made_of(path: str, query: dict[str, str]) -> None:
    source = HttpSource(
        "orders", HttpDataSourceSettings(type="HTTP", endpoint="https://api.example.com/v1"), HttpClients()
    )
    try:
        request = source._build({"method": "GET", "resourcePath": path, "params": {"query": query}})
    except InvalidRequest:
        return
    assert (request.url.scheme, request.url.host, request.url.port, request.url.userinfo) == (
        "https",
        "api.example.com",
        None,
        b"",
    )
    target = request.url.raw_path.decode("ascii")
    decoded = unquote(target.partition("?")[0])
    assert target.startswith("/v1/")
    assert not {".", ".."} & set(decoded.split("/"))
    assert not re.search(r"[\s\\#]", target)
    assert request.headers["host"] == "api.example.com"
    # Whoever reads the query gets what was given.
    pairs = parse_qsl(target.partition("?")[2], keep_blank_values=True)
    assert pairs[len(pairs) - len(query) :] == list(query.items())
