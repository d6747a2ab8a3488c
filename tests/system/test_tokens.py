"""Tokens of an OpenID Connect issuer against `fanout serve`: ends, renewals, turned keys, an issuer that is down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.issuer import Issuer, make_key, serve_issuer, sign
from tests.served import PUBLISHER_KEY, Served, encode_header, open_appsync, serve, wait_until, wait_until_async

QUERY = "subscription { onCreateMessage { id } }"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with serve_issuer() as served:
        yield served


def write_configuration(directory: Path, issuer: Issuer, **settings: Any) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"client_id": "web|mobile", **settings}.items()]
    (directory / "fanout.toml").write_text(
        "\n".join(
            [
                'auth_mode = "OPENID_CONNECT"',
                f'publisher_key = ["{PUBLISHER_KEY}"]',
                'admin_key = ["da2-operator"]',
                "[[oidc]]",
                f'issuer = "{issuer.url}"',
                *lines,
            ]
        )
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oidc")


@pytest.fixture(scope="module")
def served(issuer: Issuer, directory: Path) -> Iterator[Served]:
    """One service for all: each test leaves issuer and configuration as they were."""
    write_configuration(directory, issuer)
    arguments = ("--config", "fanout.toml", "--log-level", "debug")
    with serve(*arguments, keys=False, directory=directory) as process:
        yield process


def sign_for(issuer: Issuer, seconds: float = 3600, subject: str = "ada", **claims: Any) -> str:
    now = time.time()
    usual = {"iss": issuer.url, "sub": subject, "aud": "web", "iat": int(now), "exp": now + seconds}
    return sign({**usual, **claims})


def ask_http(served: Served, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.post(
        f"{served.url}/graphql", headers=headers, json={"query": "{ __typename }"}, timeout=20
    ).status_code


def reload(served: Served) -> int:
    """Reload the configuration; returns how many connections that has ended."""
    answer = httpx.post(f"{served.url}/admin/reload", headers={"x-api-key": "da2-operator"}, json={}, timeout=20)
    return int(answer.json()["reports"][0]["ended"]["connections"])


class Client:
    """graphql-transport-ws by hand."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, type: str, **members: Any) -> None:
        await self.connection.send(json.dumps({"type": type, **members}))

    async def receive(self) -> dict[str, Any]:
        return dict(json.loads(await asyncio.wait_for(self.connection.recv(), 20)))

    async def init(self, token: str) -> None:
        await self.send("connection_init", payload={"Authorization": token})

    async def receive_close(self) -> int | None:
        await asyncio.wait_for(self.connection.wait_closed(), 60)
        return self.connection.close_code


@asynccontextmanager
async def open_client(served: Served) -> AsyncIterator[Client]:
    url = served.url.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=["graphql-transport-ws"]) as connection:  # type: ignore[list-item]
        yield Client(connection)


async def test_a_connection_ends_with_its_token_unless_it_is_renewed(served: Served, issuer: Issuer) -> None:
    assert ask_http(served, sign_for(issuer)) == 200
    # As short as this machine is quick: a token that has ended before everything was said is made anew, longer.
    for seconds in (2, 4, 8, 16, 32):
        async with open_client(served) as ending, open_client(served) as renewed:
            token = sign_for(issuer, seconds)
            try:
                for client in (ending, renewed):
                    await client.init(token)
                    await client.send("subscribe", id="s", payload={"query": QUERY})
                await renewed.init(sign_for(issuer))
                said = [await renewed.receive() for _ in range(2)]
                await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 2, seconds)
            except (ConnectionClosed, AssertionError):
                continue
            assert said == [{"type": "connection_ack"}] * 2
            assert await ending.receive_close() == 4401
            served.publish("createMessage", {"id": "7", "roomId": "r"})
            message = await renewed.receive()
            assert message["payload"] == {"data": {"onCreateMessage": {"id": "7"}}}
            return
    raise AssertionError("no token was long enough")


async def test_another_s_token_renews_nothing(served: Served, issuer: Issuer) -> None:
    async with open_client(served) as client:
        await client.init(sign_for(issuer))
        assert await client.receive() == {"type": "connection_ack"}
        await client.init(sign_for(issuer, subject="eve"))
        assert await client.receive_close() == 4403


async def test_an_appsync_client_is_told_and_closed(served: Served, issuer: Issuer) -> None:
    for token in (sign_for(issuer, -1), sign_for(issuer, aud="other"), sign_for(issuer)[:-9]):
        header = encode_header({"host": "localhost", "Authorization": token})
        async with open_appsync(served.url, subprotocols=["graphql-ws", header]) as client:
            await client.send({"type": "connection_init"})
            answer = await client.receive()
            assert answer["type"] == "connection_error"
            assert answer["payload"]["errors"][0]["errorCode"] == 401


def test_keys_turn_while_it_serves(served: Served, issuer: Issuer) -> None:
    assert ask_http(served, sign_for(issuer)) == 200
    issuer.keys = {"k1": make_key("k1"), "k2": make_key("k2")}
    claims = {"iss": issuer.url, "sub": "ada", "aud": "web", "iat": int(time.time()), "exp": time.time() + 60}
    assert ask_http(served, sign(claims, make_key("k2"), "k2")) == 200
    asked = len(issuer.requests)
    for number in range(20):
        assert ask_http(served, sign(claims, make_key("k9"), f"random {number}")) == 401
    assert len(issuer.requests) <= asked + 2  # whatever the number of unknown keys
    del issuer.keys["k2"]


def test_an_issuer_that_is_down_is_no_refusal(tmp_path: Path) -> None:
    with serve_issuer() as down:
        down.replace_answer("/.well-known/openid-configuration", b"", 500)
        write_configuration(tmp_path, down)
        with serve("--config", "fanout.toml", keys=False, directory=tmp_path) as served:
            assert ask_http(served, sign_for(down)) == 503
            wait_until(lambda: any("the keys of" in line and "answers 500" in line for line in served.log))
            down.answers.clear()
            wait_until(lambda: ask_http(served, sign_for(down)) == 200)


async def test_a_reload_ends_whom_the_rules_do_not_let_in_any_more(
    served: Served, issuer: Issuer, directory: Path
) -> None:
    async with open_client(served) as web, open_client(served) as mobile:
        await web.init(sign_for(issuer))
        await mobile.init(sign_for(issuer, aud=["mobile", "other"]))
        for client in (web, mobile):
            assert await client.receive() == {"type": "connection_ack"}
        write_configuration(directory, issuer, client_id="mobile")
        asked = len(issuer.requests)
        assert reload(served) == 1
        assert await web.receive_close() == 4401
        await mobile.send("subscribe", id="s", payload={"query": QUERY})
        await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 1)
        assert ask_http(served, sign_for(issuer, aud="mobile", azp="x")) == 200
        assert len(issuer.requests) == asked  # the keys are those from before
        write_configuration(directory, issuer)
        assert reload(served) == 0


def test_nothing_of_a_token_is_logged(served: Served, issuer: Issuer) -> None:
    token = sign_for(issuer)
    for each in (token, token[:-3], sign_for(issuer, -9, subject="subject-to-find")):
        ask_http(served, each)
    wait_until(lambda: any("it has expired" in line for line in served.log))
    for part in [*token.split("."), "subject-to-find"]:
        assert not [line for line in served.log if part in line]
