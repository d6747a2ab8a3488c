"""Operators and reloads over real processes: on all gateways, without dropping who may stay."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.proxy import Proxy
from tests.served import AppSyncClient, Served, connect_appsync, open_appsync, serve, wait_until_async
from tests.system.test_serving import list_workers
from tests.valkey import Valkey, run_valkey

FIRST, SECOND, ADMIN, PUBLISHER = "da2-first-client", "da2-second-client", "da2-operator", "da2-publisher"
IN_ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id } }"
WITH_AUTHOR = 'subscription { onCreateMessage(roomId: "1") { id author } }'
SDL = """
type Message { id: ID! roomId: ID author: String content: String }
type Query { version: String }
type Mutation { createMessage(id: ID): Message }
type Subscription { onCreateMessage(roomId: ID): Message @aws_subscribe(mutations: ["createMessage"]) }
"""
FILE = f"""
schema = "api.graphql"
api_key = ["{FIRST}", "{SECOND}"]
publisher_key = ["{PUBLISHER}"]
admin_key = ["{ADMIN}"]
heartbeat_interval_ms = 300
heartbeat_timeout_ms = 1500
[subscriptions.onCreateMessage]
invalidation_filter = {{ roomId = {{ eq = "$args.roomId" }} }}
"""
NO_TEMPLATE = FILE.partition("[subscriptions")[0]


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


def write(directory: Path, sdl: str = SDL, file: str = FILE) -> None:
    (directory / "api.graphql").write_text(sdl)
    (directory / "fanout.toml").write_text(file)


@pytest.fixture
def gateways(valkey: Valkey, tmp_path: Path) -> Iterator[list[Served]]:
    write(tmp_path)
    arguments: Any = ("--config", "fanout.toml", "--redis-url", valkey.url)
    with (
        serve(*arguments, keys=False, directory=tmp_path) as one,
        serve(*arguments, keys=False, directory=tmp_path) as two,
    ):
        yield [one, two]


def order(served: Served, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
    answer = httpx.post(f"{served.url}/admin/{path}", headers={"x-api-key": ADMIN}, json=body, timeout=30)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def expect_close(client: AppSyncClient, code: int) -> None:
    await client.connection.wait_closed()
    assert client.connection.close_code == code


async def start(client: AppSyncClient, id: str, query: str, key: str = FIRST, **variables: Any) -> None:
    assert await client.start(id, query, variables, key=key) == {"type": "start_ack", "id": id}


async def test_an_order_is_carried_out_on_all_gateways(valkey: Valkey, gateways: list[Served]) -> None:
    one, two = gateways
    async with (
        connect_appsync(one.url, FIRST) as here,
        connect_appsync(two.url, FIRST) as there,
        connect_appsync(two.url, SECOND) as other,
    ):
        await start(here, "s", IN_ROOM, room="1")
        await start(there, "s", IN_ROOM, room="1")
        await start(other, "s", IN_ROOM, SECOND, room="2")
        both = {"told": 2, "answered": 2}
        answer = order(one, "subscriptions/invalidate", {"field": "onCreateMessage", "payload": {"roomId": "1"}})
        assert answer == {"gateways": both, "ended": {"connections": 2, "subscriptions": 2}}
        for client in (here, there):
            error = (await client.receive())["payload"]["errors"][0]
            assert (error["errorType"], error["message"]) == ("SubscriptionInvalidated", "Subscription complete.")
            await expect_close(client, 4621)
        valkey.add("createMessage", {"id": "x", "roomId": "2"})
        assert (await other.receive_data())[0] == "s"

        listed = httpx.get(f"{two.url}/admin/connections", headers={"x-api-key": ADMIN}).json()["connections"]
        assert [each["subscriptions"] for each in listed] == [1]
        async with connect_appsync(one.url, SECOND) as same:
            answer = order(one, "connections/close", {"identity": listed[0]["identity"]})
            assert answer == {"gateways": both, "ended": {"connections": 2, "subscriptions": 1}}
            await expect_close(same, 4620)
        await expect_close(other, 4620)
    async with connect_appsync(two.url, SECOND):
        listed = httpx.get(f"{two.url}/admin/connections", headers={"x-api-key": ADMIN}).json()["connections"]
        answer = order(one, "connections/close", {"connectionId": listed[0]["connectionId"]})
        assert answer["ended"]["connections"] == 1
    assert any("fanout.audit: POST invalidate onCreateMessage by sha256:" in line for line in one.log)
    assert not any(ADMIN in line for line in one.log + two.log)


async def test_a_reload_keeps_what_is_valid_and_tells_the_others(
    valkey: Valkey, gateways: list[Served], tmp_path: Path
) -> None:
    one, two = gateways
    async with connect_appsync(one.url, FIRST) as here, connect_appsync(two.url, FIRST) as there:
        for client in (here, there):
            await start(client, "kept", IN_ROOM, room="1")
        await start(there, "lost", WITH_AUTHOR)

        write(tmp_path, sdl=SDL.replace("type Query {", "type Query"))
        answer = order(one, "reload", {"all": True}, status=422)
        assert len(answer["errors"]) == 2
        assert "api.graphql:3:12" in answer["errors"][0]["message"]
        one.process.send_signal(signal.SIGHUP)
        await wait_until_async(lambda: one.read_metric("fanout_reloads_total") == 2)
        valkey.add("createMessage", {"id": "1", "roomId": "1", "author": "a"})
        assert (await here.receive_data())[0] == "kept"
        assert {(await there.receive_data())[0] for _ in range(2)} == {"kept", "lost"}

        write(tmp_path, sdl=SDL.replace("author: String", "writer: String"), file="workers = 3\n" + FILE)
        answer = order(one, "reload", {"all": True})
        assert answer["gateways"] == {"told": 2, "answered": 2}
        assert [(each["changed"], each["ignored"]) for each in answer["reports"]] == [(["schema"], ["workers"])] * 2
        told = await there.receive()
        assert (told["type"], told["id"]) == ("error", "lost")
        assert told["payload"]["errors"][0]["errorType"] == "SchemaChanged"
        assert "author" in told["payload"]["errors"][0]["message"]
        valkey.add("createMessage", {"id": "2", "roomId": "1"})
        for client in (here, there):
            assert await client.receive_data() == ("kept", {"data": {"onCreateMessage": {"id": "2"}}})
        await start(there, "new", 'subscription { onCreateMessage(roomId: "1") { writer } }')

        write(tmp_path, sdl=SDL, file=NO_TEMPLATE)
        one.process.send_signal(signal.SIGHUP)
        await expect_close(here, 4622)
        order(one, "subscriptions/invalidate", {"field": "onCreateMessage", "payload": {}}, status=422)


async def test_a_key_that_is_taken_out_ends_its_connections(gateways: list[Served], tmp_path: Path) -> None:
    one, two = gateways
    async with connect_appsync(one.url, FIRST) as stays, connect_appsync(two.url, SECOND) as goes:
        await start(stays, "own", IN_ROOM, room="1")
        await start(stays, "guest", IN_ROOM, SECOND, room="1")
        await start(goes, "s", IN_ROOM, SECOND, room="1")
        write(tmp_path, file=FILE.replace(SECOND, "da2-third-client"))
        assert len(order(two, "reload", {"all": True})["reports"]) == 2
        assert (await goes.receive())["type"] == "connection_error"
        await expect_close(goes, 4401)
        told = await stays.receive()
        assert (told["type"], told["id"]) == ("error", "guest")
        assert told["payload"]["errors"][0]["errorType"] == "UnauthorizedException"
        assert (await stays.start("again", IN_ROOM, {"room": "1"}, key=SECOND))["type"] == "error"
        async with connect_appsync(two.url, "da2-third-client") as third:
            await start(third, "s", IN_ROOM, "da2-third-client", room="1")


async def test_a_stopped_gateway_carries_an_order_out_when_it_goes_on(gateways: list[Served]) -> None:
    one, two = gateways
    async with connect_appsync(two.url, FIRST) as client:
        two.process.send_signal(signal.SIGSTOP)
        try:
            answer = order(one, "connections/close", {"identity": "sha256:" + _digest(FIRST)})
            assert answer["gateways"] == {"told": 2, "answered": 1}
        finally:
            two.process.send_signal(signal.SIGCONT)
        await client.connection.wait_closed()
        # 4605 where the others took it for dead meanwhile.
        assert client.connection.close_code in (4620, 4605)


async def test_workers_are_told_by_the_signal(tmp_path: Path) -> None:
    write(tmp_path)
    with serve("--config", "fanout.toml", "--workers", "2", keys=False, directory=tmp_path) as served:
        async with connect_appsync(served.url, FIRST) as one, connect_appsync(served.url, FIRST) as two:
            write(tmp_path, file=FILE.replace(FIRST, "da2-third-client"))
            served.process.send_signal(signal.SIGHUP)
            for client in (one, two):
                await expect_close(client, 4401)
        await wait_until_async(lambda: sum("changed: api_key" in line for line in served.log) == 2)


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


async def test_a_worker_that_is_replaced_takes_the_keys_as_they_are_then(tmp_path: Path) -> None:
    write(tmp_path)
    with serve("--config", "fanout.toml", "--workers", "2", keys=False, directory=tmp_path) as served:
        first = list_workers(served)
        assert len(first) == 2
        write(tmp_path, file=FILE.replace(FIRST, "da2-third-client"))
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        await wait_until_async(lambda: len(set(list_workers(served)) - set(first)) == 2)
        async with connect_appsync(served.url, "da2-third-client"):
            pass
        async with open_appsync(served.url, FIRST) as client:
            await client.send({"type": "connection_init"})
            assert (await client.receive())["type"] == "connection_error"


def test_the_signal_of_a_terminal_that_is_closed_ends_the_process(tmp_path: Path) -> None:
    write(tmp_path)
    command = [sys.executable, "-m", "fanout", "serve", "--config", "fanout.toml", "--port", "0"]
    controller, terminal = pty.openpty()
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        try:
            os.close(terminal)
            assert process.stdout is not None
            assert any(b"endpoint" in line for line in process.stdout)
            os.close(controller)
            process.send_signal(signal.SIGHUP)
            assert process.wait(20) == 0
        finally:
            process.kill()


async def test_a_signal_that_comes_before_it_can_be_handled_is_not_lost_and_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    with run_valkey() as valkey:
        async with Proxy(valkey.port).running() as proxy:
            proxy.stall()
            command = [sys.executable, "-m", "fanout", "serve", "--config", "fanout.toml", "--port", "0"]
            command += ["--redis-url", proxy.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path) as process:
                try:
                    await wait_until_async(lambda: proxy.is_used)
                    process.send_signal(signal.SIGHUP)
                    proxy.flow()
                    assert await asyncio.to_thread(_says, process, b"reloaded; changed: nothing")
                finally:
                    process.kill()


def _says(process: subprocess.Popen[bytes], text: bytes) -> bool:
    assert process.stdout is not None
    return any(text in line for line in process.stdout)
