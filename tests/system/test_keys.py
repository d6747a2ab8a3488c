"""Stored keys over real processes: good at once on all gateways, and what they opened ends at once on all of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.served import AppSyncClient, Served, connect_appsync, open_appsync, run_command, serve, wait_until_async
from tests.valkey import Valkey, run_valkey

QUERY = 'subscription { onCreateMessage(roomId: "1") { id } }'
HASH = "fanout:{keys}"


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


@pytest.fixture
def gateways(valkey: Valkey) -> Iterator[list[Served]]:
    with serve("--redis-url", valkey.url) as one, serve("--redis-url", valkey.url) as two:
        yield [one, two]


def keys(valkey: Valkey, *arguments: str) -> tuple[str, str]:
    """What `fanout keys ...` prints: for scripts, for people."""
    result = run_command("keys", *arguments, "--redis-url", valkey.url)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), result.stderr


async def start(client: AppSyncClient, id: str, key: str) -> None:
    assert await client.start(id, QUERY, key=key) == {"type": "start_ack", "id": id}


async def expect_refusal(url: str, key: str) -> None:
    async with open_appsync(url, key) as client:
        await client.send({"type": "connection_init"})
        assert (await client.receive())["type"] == "connection_error"


async def expect_revoked(client: AppSyncClient) -> None:
    while (await client.receive())["type"] != "connection_error":
        pass
    await client.connection.wait_closed()
    assert client.connection.close_code == 4401


async def test_a_key_is_good_at_once_everywhere_and_ends_at_once_everywhere(
    valkey: Valkey, gateways: list[Served]
) -> None:
    one, two = gateways
    key, said = keys(valkey, "create", "--description", "the app")
    assert "2 of 2 gateways accept it" in said
    other, _ = keys(valkey, "create")
    async with (
        connect_appsync(one.url, key) as here,
        connect_appsync(two.url, key) as there,
        connect_appsync(two.url, other) as stays,
    ):
        for client in (here, there):
            await start(client, "s", key)
        await start(stays, "own", other)
        await start(stays, "guest", key)
        valkey.add("createMessage", {"id": "1", "roomId": "1"})
        for client in (here, there, stays, stays):
            await client.receive_data()

        listed = orjson.loads(keys(valkey, "list", "--json")[0])
        (id,) = [each["id"] for each in listed if each["description"] == "the app"]
        out, said = keys(valkey, "revoke", id)
        assert out == id
        assert "2 of 2 gateways refuse it; closed 2 connections, ended 3 subscriptions" in said
        for client in (here, there):
            await expect_revoked(client)
        told = await stays.receive()
        assert (told["type"], told["id"]) == ("error", "guest")
        valkey.add("createMessage", {"id": "2", "roomId": "1"})
        assert (await stays.receive_data())[0] == "own"
    for served in gateways:
        await expect_refusal(served.url, key)
        assert not any(secret in line for line in served.log + served.output for secret in (key, other))
    # A gateway that starts later knows those that are left.
    with serve("--redis-url", valkey.url) as late:
        await expect_refusal(late.url, key)
        async with connect_appsync(late.url, other):
            pass


async def test_publishers_and_operators_have_stored_keys_too(valkey: Valkey, tmp_path: Path) -> None:
    api, publisher, admin = (keys(valkey, "create", "--kind", kind)[0] for kind in ("api", "publisher", "admin"))
    with serve("--redis-url", valkey.url, keys=False) as served:
        # Nobody needs keys of a development then.
        assert "da2-" not in "".join(line for line in served.output if "key  " in line)

        def ask(method: str, path: str, key: str, body: Any = None) -> int:
            return httpx.request(method, served.url + path, headers={"x-api-key": key}, json=body).status_code

        event = {"mutation": "createMessage", "data": {"id": "1", "roomId": "1"}}
        for key in (api, publisher, admin):
            assert ask("POST", "/graphql", key, {"query": "{__typename}"}) == (200 if key == api else 401)
            assert ask("POST", "/events", key, event) == (202 if key == publisher else 401)
            assert ask("GET", "/admin/connections", key) == (200 if key == admin else 401)
        listed = orjson.loads(keys(valkey, "list", "--json")[0])
        keys(valkey, "revoke", next(each["id"] for each in listed if each["kind"] == "publisher"))
        assert ask("POST", "/events", publisher, event) == 401
        assert ask("POST", "/graphql", api, {"query": "{__typename}"}) == 200


async def test_a_key_that_expires_ends_what_it_opened(valkey: Valkey, gateways: list[Served]) -> None:
    one, two = gateways
    key, _ = keys(valkey, "create")
    async with connect_appsync(one.url, key) as here, connect_appsync(two.url, key) as there:
        ((digest, value),) = valkey.client.hgetall(HASH).items()
        entry = orjson.loads(value)
        seconds, _ = valkey.client.time()
        valkey.client.hset(HASH, digest, orjson.dumps({**entry, "expiresAt": int(seconds) + 2}).decode())
        # Any order about keys makes gateways read them again.
        keys(valkey, "create", "--kind", "admin")
        for client in (here, there):
            await expect_revoked(client)
    for served in gateways:
        await expect_refusal(served.url, key)


async def test_an_order_that_a_gateway_missed_does_no_lasting_harm(valkey: Valkey, gateways: list[Served]) -> None:
    one, two = gateways
    gone, _ = keys(valkey, "create")
    async with connect_appsync(one.url, gone) as here, connect_appsync(two.url, gone) as there:
        (digest,) = valkey.client.hkeys(HASH)
        two.process.send_signal(signal.SIGSTOP)
        try:
            # Nobody is told of this, and then so many orders that a gateway that is away misses some.
            valkey.client.hdel(HASH, digest)
            with valkey.client.pipeline(transaction=True) as pipeline:
                for _ in range(1005):
                    pipeline.xadd("fanout:{announcements}", {"body": '{"do":"keys"}'}, maxlen=1000, approximate=False)
                pipeline.execute()
            await here.connection.wait_closed()
        finally:
            two.process.send_signal(signal.SIGCONT)
        await there.connection.wait_closed()
        assert there.connection.close_code in (4401, 4605)
    for served in gateways:
        await expect_refusal(served.url, gone)


async def test_a_corrupt_entry_stops_nobody(valkey: Valkey, gateways: list[Served]) -> None:
    valkey.client.hset(HASH, mapping={"da2-a-key-itself": "x", "ab" * 32: "{", "cd" * 32: '{"kind":"api"}'})
    key, _ = keys(valkey, "create")
    for served in gateways:
        async with connect_appsync(served.url, key):
            pass
        lines = [line for line in served.log if "cannot be used" in line]
        assert len(lines) == 1
        assert "3 entries" in lines[0]
        assert "da2-" not in lines[0]


async def test_the_last_known_keys_stay_while_redis_is_away(valkey: Valkey) -> None:
    key, _ = keys(valkey, "create")
    with serve("--redis-url", valkey.url) as served:
        async with connect_appsync(served.url, key) as before:
            valkey.kill()
            async with connect_appsync(served.url, key):
                pass
            valkey.start()
            await wait_until_async(lambda: httpx.get(f"{served.url}/readyz").status_code == 200)
            await start(before, "s", key)


async def test_keys_are_made_and_revoked_by_the_admin_api(valkey: Valkey) -> None:
    arguments = ("--redis-url", valkey.url, "--admin-key", "da2-operator")
    with serve(*arguments) as one, serve(*arguments) as two:
        async with httpx.AsyncClient(base_url=one.url, headers={"x-api-key": "da2-operator"}, timeout=30) as operator:
            made = (await operator.post("/admin/keys", json={"description": "d", "days": 90})).json()
            assert made["gateways"] == {"told": 2, "answered": 2}
            async with connect_appsync(two.url, made["key"]) as client:
                listed = (await operator.get("/admin/keys")).json()["keys"]
                assert [key["id"] for key in listed] == [made["id"]]
                assert (await operator.delete(f"/admin/keys/{made['key']}")).status_code == 400
                revoked = (await operator.delete(f"/admin/keys/{made['id']}")).json()
                assert revoked["ended"] == {"connections": 1, "subscriptions": 0}
                await expect_revoked(client)
            assert (await operator.delete(f"/admin/keys/{made['id']}")).status_code == 404
        assert not any(made["key"] in line for line in one.log + two.log)
