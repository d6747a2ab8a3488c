"""A served process does what its page one says: publish three ways, subscribe, be told what is wrong."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
import redis

from tests.served import (
    API_KEY,
    PUBLISHER_KEY,
    Served,
    connect_appsync,
    find_adjacent_ports,
    open_appsync,
    run_command,
    serve,
    wait_until,
    wait_until_async,
)

ON_CREATE = "subscription On($roomId: ID) { onCreateMessage(roomId: $roomId) { id roomId content } }"
CREATE = "mutation M($input: CreateMessageInput!) { createMessage(input: $input) { id roomId content createdAt } }"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as process:
        yield process


def open_redis(served: Served) -> redis.Redis:
    path = next(line for line in served.output if "unix://" in line).split()[-1]
    return redis.Redis.from_url(path, decode_responses=True)


async def test_three_ways_to_publish_reach_the_same_subscriber(served: Served) -> None:
    async with connect_appsync(served.url) as client:
        await client.subscribe("s", ON_CREATE, {"roomId": "r1"})
        data = {"id": "m1", "roomId": "r1", "content": "hello", "author": "a"}
        with open_redis(served) as server:
            server.xadd("fanout:events", {"mutation": "createMessage", "data": orjson.dumps(data)})
        expected = {"data": {"onCreateMessage": {"id": "m1", "roomId": "r1", "content": "hello"}}}
        assert await client.receive_data() == ("s", expected)
        served.publish("createMessage", {**data, "roomId": "other"})
        served.publish("createMessage", data)
        assert await client.receive_data() == ("s", expected)
        response = httpx.post(
            f"{served.url}/graphql",
            headers={"x-api-key": API_KEY},
            json={"query": CREATE, "variables": {"input": {"roomId": "r1", "content": "hello", "author": "a"}}},
        )
        result = response.json()["data"]["createMessage"]
        assert result["createdAt"]
        _, payload = await client.receive_data()
        assert payload["data"]["onCreateMessage"] == {"id": result["id"], "roomId": "r1", "content": "hello"}


async def test_stop_ends_the_subscription_and_its_group(served: Served) -> None:
    async with connect_appsync(served.url) as client:
        await client.subscribe("a", ON_CREATE, {"roomId": "stop"})
        assert served.read_metric("fanout_subscriptions") == 1
        await client.send({"id": "a", "type": "stop"})
        assert await client.receive() == {"type": "complete", "id": "a"}
        assert served.read_metric("fanout_subscriptions") == 0
        assert served.read_metric("fanout_groups") == 0


async def test_garbage_is_answered_and_nobody_else_notices(served: Served) -> None:
    async with connect_appsync(served.url) as good, connect_appsync(served.url) as bad:
        await good.subscribe("g", ON_CREATE, {"roomId": "g"})
        deep = "{a" * 5000
        for message in ("not json", "[]", '{"type":"nonsense"}', '{"type":"start"}', '{"type":"stop","id":"unknown"}'):
            await bad.send(message)
        for query in (deep, "subscription { nope }", "query { getRoom }", "subscription {", ""):
            answer = await bad.start("x", query)
            while answer.get("id") != "x":
                answer = await bad.receive()
            assert answer["type"] == "error", query[:20]
            assert answer["payload"]["errors"][0]["message"]
        await bad.subscribe("x", ON_CREATE, {"roomId": "g"})
        served.publish("createMessage", {"id": "1", "roomId": "g", "content": "c"})
        assert (await good.receive_data())[0] == "g"
        assert (await bad.receive_data())[0] == "x"


async def test_a_wrong_key_is_refused_on_every_way_in(served: Served) -> None:
    async with open_appsync(served.url, key="wrong") as client:
        await client.send({"type": "connection_init"})
        answer = await client.receive()
        assert answer["type"] == "connection_error"
        assert answer["payload"]["errors"][0]["errorCode"] == 401
        await client.connection.wait_closed()
        assert client.connection.close_code == 4401
    async with connect_appsync(served.url) as client:
        answer = await client.start("s", ON_CREATE, key="wrong")
        assert answer["type"] == "error"
        assert answer["payload"]["errors"][0]["errorType"] == "UnauthorizedException"
    for path, key in (("/graphql", "wrong"), ("/graphql", PUBLISHER_KEY), ("/events", API_KEY), ("/events", "")):
        assert httpx.post(f"{served.url}{path}", headers={"x-api-key": key}, json={}).status_code == 401
    assert all(API_KEY not in line and PUBLISHER_KEY not in line for line in served.log)


async def test_health_pages(served: Served) -> None:
    assert httpx.get(f"{served.url}/ping").text == "healthy"
    assert httpx.get(f"{served.url}/healthz").status_code == 200
    assert httpx.get(f"{served.url}/readyz").status_code == 200
    assert served.read_metric("fanout_connects_total") >= 0


async def test_a_process_that_is_told_to_stop_closes_its_clients_and_ends_its_redis() -> None:
    with serve() as served:
        async with connect_appsync(served.url) as client:
            await client.subscribe("s", ON_CREATE)
            assert await asyncio.to_thread(served.stop, signal.SIGTERM) == 0
            await client.connection.wait_closed()
            assert client.connection.close_code == 1012
        with pytest.raises(redis.ConnectionError), open_redis(served) as server:
            server.ping()


async def test_workers_share_the_port_and_the_events() -> None:
    worker_port = find_adjacent_ports(2)
    environment = {"FANOUT_WORKER_PORT": str(worker_port)}
    with serve("--workers", "2", environment=environment) as served:
        clients = []
        contexts = [connect_appsync(served.url) for _ in range(8)]
        for context in contexts:
            client = await context.__aenter__()
            await client.subscribe("s", ON_CREATE, {"roomId": "w"})
            clients.append(client)
        workers = [Served(served.process, f"http://127.0.0.1:{worker_port + number}", [], []) for number in range(2)]
        assert sum(worker.read_metric("fanout_subscriptions") for worker in workers) == 8
        served.publish("createMessage", {"id": "1", "roomId": "w", "content": "c"})
        for client in clients:
            assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "1"
        for context in contexts:
            await context.__aexit__(None, None, None)
        assert served.stop() == 0


async def test_a_worker_that_dies_is_replaced() -> None:
    with serve("--workers", "2") as served:
        first = list_workers(served)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        await wait_until_async(lambda: len(set(list_workers(served)) - {first[0]}) == 2)
        await wait_until_async(lambda: any("a worker ended with exit code -9" in line for line in served.log))
        async with connect_appsync(served.url) as client:
            await client.subscribe("s", ON_CREATE)


def test_as_many_descriptors_as_the_hard_limit_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        with serve() as served:
            assert resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def list_workers(served: Served) -> list[int]:
    (fork_server,) = (child for child in list_children(served.process.pid) if b"forkserver" in read_command_line(child))
    return list_children(fork_server)


def list_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def read_command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
        return b""


def test_mistakes_at_the_start_are_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = {
            ("--port", str(port)): f"cannot listen on 127.0.0.1:{port}: Address already in use",
            ("--schema", "none.graphql"): "none.graphql: cannot read the schema",
            ("--redis-url", "redis://:secret@127.0.0.1:1"): "127.0.0.1:1",
            ("--redis-url", "nonsense"): "redis_url: not a usable Redis URL",
            ("--log-level", "loud"): "option --log-level",
            ("--workers", "2", "--redis-url", "redis://:secret@127.0.0.1:1"): "127.0.0.1:1",
            ("--workers", "2", "--port", str(port)): f"cannot listen on 127.0.0.1:{port}: Address already in use",
            ("--tls-cert", "a.pem"): "tls_cert and tls_key go together",
        }
        for arguments, text in cases.items():
            default = [] if "--port" in arguments else ["--port", "0"]
            result = run_command("serve", *default, *arguments)
            assert result.returncode in {1, 2}, arguments
            assert text in result.stderr, result.stderr
            assert "Traceback" not in result.stderr
            assert "secret" not in result.stderr
            assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_a_schema_error_names_line_and_column(tmp_path: Path) -> None:
    schema = tmp_path / "bad.graphql"
    schema.write_text("type Query { a: Int }\ntype Subscription {\n  onX: Nope\n}\n")
    result = run_command("check", str(schema))
    assert result.returncode == 2
    assert "bad.graphql:3:8" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_keys_made_for_a_run_are_shown_and_configured_ones_are_not() -> None:
    with serve(keys=False) as served:
        text = "".join(served.output)
        assert text.count("da2-") >= 4
        key = text.split("--publisher-key ")[1].split()[0]
        result = run_command("publish", "createMessage", '{"id":"1"}', "--url", served.url, "--publisher-key", key)
        assert result.returncode == 0, result.stderr
        assert "-" in result.stdout
    with serve() as served:
        assert API_KEY not in "".join(served.output)


def test_the_commands_subscribe_and_publish(served: Served) -> None:
    subscriber = subprocess.Popen(
        [
            sys.executable, "-m", "fanout", "subscribe", "--count", "2", "--url", served.url, "--api-key", API_KEY,
            'subscription { onCreateMessage(roomId: "cli") { id } }',
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_until(lambda: served.read_metric("fanout_subscriptions") == 1)
    key = {"FANOUT_PUBLISHER_KEY": PUBLISHER_KEY}
    for number in range(2):
        data = orjson.dumps({"id": str(number), "roomId": "cli"}).decode()
        result = run_command("publish", "createMessage", "-", "--url", served.url, input=data, environment=key)
        assert result.returncode == 0, result.stderr
    output, _ = subscriber.communicate(timeout=30)
    assert subscriber.returncode == 0
    assert [orjson.loads(line)["data"]["onCreateMessage"]["id"] for line in output.splitlines()] == ["0", "1"]
