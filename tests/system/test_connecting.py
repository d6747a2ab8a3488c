"""Every way in: the three places of AppSync's header object, both paths, TLS."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.served import (
    API_KEY,
    PUBLISHER_KEY,
    Served,
    connect_appsync,
    encode_header,
    open_appsync,
    run_command,
    serve,
    wait_until,
)

ON_CREATE = "subscription { onCreateMessage { id } }"
HEADER = {"host": "localhost", "x-api-key": API_KEY, "x-amz-date": "20260101T000000Z"}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as process:
        yield process


def by_query(path: str) -> dict[str, Any]:
    header = base64.b64encode(orjson.dumps(HEADER)).decode()
    return {"path": f"{path}?header={header}&payload=e30=", "subprotocols": ["graphql-ws"]}


def by_subprotocol(path: str) -> dict[str, Any]:
    return {"path": path, "subprotocols": ["graphql-ws", encode_header(HEADER)]}


def by_plain_headers(path: str) -> dict[str, Any]:
    return {"path": path, "subprotocols": ["graphql-ws"], "additional_headers": HEADER}


@pytest.mark.parametrize("path", ["/graphql", "/graphql/realtime"])
@pytest.mark.parametrize("way", [by_query, by_subprotocol, by_plain_headers], ids=lambda way: way.__name__)
async def test_the_header_object_is_found(served: Served, way: Any, path: str) -> None:
    async with connect_appsync(served.url, **way(path)) as client:
        assert client.connection.subprotocol == "graphql-ws"
        await client.subscribe("s", ON_CREATE)
        served.publish("createMessage", {"id": "1"})
        assert (await client.receive_data())[1] == {"data": {"onCreateMessage": {"id": "1"}}}


@pytest.mark.parametrize(
    "header", [{"host": "localhost"}, {"host": "localhost", "x-api-key": "da2-wrong"}, {"x-api-key": PUBLISHER_KEY}]
)
@pytest.mark.parametrize("way", ["query", "subprotocol"])
async def test_a_wrong_or_missing_key_is_a_connection_error(
    served: Served, header: Mapping[str, str], way: str
) -> None:
    encoded = base64.b64encode(orjson.dumps(dict(header))).decode()
    options: dict[str, Any] = (
        {"path": f"/graphql?header={encoded}&payload=e30=", "subprotocols": ["graphql-ws"]}
        if way == "query"
        else {"subprotocols": ["graphql-ws", encode_header(header)]}
    )
    async with open_appsync(served.url, **options) as client:
        await client.send({"type": "connection_init"})
        assert await client.receive() == {
            "type": "connection_error",
            "payload": {
                "errors": [
                    {
                        "errorType": "UnauthorizedException",
                        "message": "You are not authorized to make this call.",
                        "errorCode": 401,
                    }
                ]
            },
        }
        await client.connection.wait_closed()
        assert client.connection.close_code == 4401


async def test_an_expired_key_is_refused() -> None:
    environment = {"FANOUT_API_KEY": f"{API_KEY}@2020-01-01T00:00:00Z", "FANOUT_PUBLISHER_KEY": PUBLISHER_KEY}
    with serve(keys=False, environment=environment) as served:
        async with open_appsync(served.url) as client:
            await client.send({"type": "connection_init"})
            assert (await client.receive())["payload"]["errors"][0]["errorCode"] == 401
        assert httpx.post(f"{served.url}/graphql", headers={"x-api-key": API_KEY}, json={}).status_code == 401


def ask_with_tls(served: Served, ca: str, version: ssl.TLSVersion) -> httpx.Response:
    """Ask for `/ping` as a client that speaks one version of TLS only, with whatever ciphers."""
    context = ssl.create_default_context(cafile=ca)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    return httpx.get(f"{served.url}/ping", verify=context)


async def test_refusals_wait_on_every_way_in_and_nobody_else_does(tmp_path: Path) -> None:
    config = tmp_path / "fanout.toml"
    config.write_text('init_timeout_ms = 2000000000\nadmin_key = ["da2-admin"]\n')
    with serve("--config", str(config), environment={"FANOUT_REFUSAL_DELAY_MS": "1000000000"}) as served:
        async with httpx.AsyncClient(base_url=served.url, headers={"x-api-key": "da2-wrong"}) as http:
            calls = (("POST", "/graphql"), ("POST", "/events"), ("GET", "/admin/connections"))
            asking = [asyncio.ensure_future(http.request(method, path, json={})) for method, path in calls]
            async with open_appsync(served.url, "da2-wrong") as stranger, connect_appsync(served.url) as client:
                await stranger.send({"type": "connection_init"})
                await client.send_start("bad", ON_CREATE, key="da2-wrong")
                await asyncio.to_thread(wait_until, lambda: served.read_metric("fanout_refusals_total") == 3)
                assert await client.start("good", ON_CREATE) == {"type": "start_ack", "id": "good"}
                served.publish("createMessage", {"id": "1"})
                assert (await client.receive_data())[0] == "good"
            assert not any(each.done() for each in asking)
            for each in asking:
                each.cancel()
        assert served.stop() == 0  # those that left hold nothing up
    assert not [line for line in served.log if "cut off" in line or "ERROR" in line]


def test_nobody_is_believed_where_a_request_comes_from_unless_it_is_said_who() -> None:
    environment = {"FANOUT_MAX_REQUESTS_PER_SECOND_PER_ADDRESS": "0.00001"}  # one in a day
    for trusted, statuses in (({}, [401, 429]), ({"FANOUT_TRUSTED_PROXIES": "127.0.0.1"}, [401, 401])):
        with serve(environment={**environment, **trusted}) as served:
            told = [
                httpx.post(f"{served.url}/events", headers={"x-forwarded-for": f"203.0.113.{number}"}).status_code
                for number in (1, 2)
            ]
            assert told == statuses


async def test_tls_with_a_development_certificate(tmp_path: Path) -> None:
    with serve("--tls-dev", directory=tmp_path) as served:
        assert served.url.startswith("https://")
        found = re.search(r"CA to trust\s+(\S+)", "".join(served.output))
        assert found
        trust = ssl.create_default_context(cafile=found[1])
        assert httpx.get(f"{served.url}/ping", verify=trust).text == "healthy"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert ask_with_tls(served, found[1], version).text == "healthy"
        with pytest.raises(httpx.ConnectError):
            ask_with_tls(served, found[1], ssl.TLSVersion.TLSv1_1)
        async with connect_appsync(served.url, ssl=trust) as client:
            await client.subscribe("s", ON_CREATE)
            result = run_command(
                "publish", "createMessage", '{"id": "1"}',
                "--url", served.url, "--publisher-key", PUBLISHER_KEY, "--ca", found[1],
            )  # fmt: skip
            assert result.returncode == 0, result.stderr
            assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "1"
        result = run_command("publish", "createMessage", "{}", "--url", served.url, "--publisher-key", PUBLISHER_KEY)
        assert result.returncode == 1
        assert "certificate" in result.stderr.lower()
        assert served.stop() == 0
