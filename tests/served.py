"""A served process for tests: started as a user starts it, waited for, and always ended.

Also a small AppSync client that shows every message, for tests of the wire itself.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect

API_KEY = "da2-test-api-key"
PUBLISHER_KEY = "da2-test-publisher-key"
# Longer than whatever is waited for takes on a machine that does ten other things; only what never comes takes so long.
PATIENCE_SECONDS = 60.0
START_SECONDS = 120.0
# Refusals are told at once unless a test is about how late they are told: after some of them that is 5 s each.
_USUAL = {"FANOUT_REFUSAL_DELAY_MS": "0", "FANOUT_MAX_REFUSAL_DELAY_MS": "1"}


class Served:
    """A running `fanout serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str, output: list[str], log: list[str]) -> None:
        self.process = process
        self.url = url
        self.output = output
        self.log = log

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def publish(self, mutation: str, data: object) -> list[str]:
        """POST one event; returns its stream ids."""
        response = httpx.post(
            f"{self.url}/events",
            headers={"x-api-key": PUBLISHER_KEY},
            json={"mutation": mutation, "data": data},
            verify=False,
        )
        assert response.status_code == 202, response.text
        return list(response.json()["ids"])

    def read_metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 where it is not there."""
        text = httpx.get(f"{self.url}/metrics", verify=False).text
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in values)

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Send the signal and wait for the end; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE_SECONDS)


@contextmanager
def serve(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    keys: bool = True,
    directory: Path | None = None,
    program: Sequence[str] = ("fanout",),
    own_group: bool = False,
) -> Iterator[Served]:
    """Run `fanout serve` on a free port of loopback, in a directory, until the block ends; `program` is its module.

    With `own_group` it leads a process group of its own, as a shell starts it.
    """
    given = ["--api-key", API_KEY, "--publisher-key", PUBLISHER_KEY] if keys else []
    command = [sys.executable, "-m", *program, "serve", "--port", "0", *given, *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_clean_environment() | _USUAL | dict(environment or {}),
        cwd=directory,
        process_group=0 if own_group else None,
    )
    output, log = _collect(process.stdout), _collect(process.stderr)
    try:
        wait_until(lambda: process.poll() is not None or any("endpoint" in line for line in output), START_SECONDS)
        found = re.search(r"endpoint\s+(\S+)/graphql", "".join(output))
        assert found, f"not served: {''.join(output)}{''.join(log)}"
        yield Served(process, found[1], output, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run_command(
    *arguments: str, environment: Mapping[str, str] | None = None, input: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `fanout ...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "fanout", *arguments],
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        input=input,
        env=_clean_environment() | dict(environment or {}),
    )


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition outside of this process; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)  # polls what another process does; nothing here assumes how long that takes


async def wait_until_async(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """The same on an event loop, which goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


class AppSyncClient:
    """AppSync's dialect by hand."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Mapping[str, Any] | str) -> None:
        await self.connection.send(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def receive(self) -> dict[str, Any]:
        """The next message that is no keep-alive."""
        while True:
            message = orjson.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE_SECONDS))
            if message != {"type": "ka"}:
                return dict(message)

    async def initialise(self) -> None:
        await self.send({"type": "connection_init"})
        assert (await self.receive())["type"] == "connection_ack"

    async def send_start(
        self,
        id: str,
        query: str,
        variables: Mapping[str, Any] | None = None,
        key: str = API_KEY,
        fanout: Mapping[str, Any] | None = None,
    ) -> None:
        data = orjson.dumps({"query": query, "variables": dict(variables or {})}).decode()
        extensions: dict[str, Any] = {"authorization": {"host": "localhost", "x-api-key": key}}
        if fanout is not None:
            extensions["fanout"] = fanout
        payload = {"data": data, "extensions": extensions}
        await self.send({"id": id, "type": "start", "payload": payload})

    async def start(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """`send_start`, and the answer to it."""
        await self.send_start(*arguments, **options)
        return await self.receive()

    async def subscribe(self, id: str, query: str, variables: Mapping[str, Any] | None = None) -> None:
        assert await self.start(id, query, variables) == {"type": "start_ack", "id": id}

    async def receive_data(self) -> tuple[str, Any]:
        """The next message, which has to be data: its id and payload."""
        message = await self.receive()
        assert message["type"] == "data", message
        return message["id"], message["payload"]


def encode_header(header: Mapping[str, str]) -> str:
    return "header-" + base64.urlsafe_b64encode(orjson.dumps(dict(header))).decode().rstrip("=")


@asynccontextmanager
async def open_appsync(
    url: str,
    key: str = API_KEY,
    path: str = "/graphql/realtime",
    subprotocols: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """An open connection in AppSync's dialect, not initialised."""
    offered = subprotocols or ["graphql-ws", encode_header({"host": "localhost", "x-api-key": key})]
    async with connect(url.replace("http", "ws", 1) + path, subprotocols=offered, **options) as connection:  # type: ignore[arg-type]
        yield AppSyncClient(connection)


@asynccontextmanager
async def connect_appsync(url: str, key: str = API_KEY, **options: Any) -> Any:
    """An initialised connection in AppSync's dialect."""
    async with open_appsync(url, key, **options) as client:
        await client.initialise()
        yield client


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FANOUT_")}


def _collect(stream: Any) -> list[str]:
    lines: list[str] = []

    def read() -> None:
        for line in stream:
            lines.append(line)
        stream.close()

    threading.Thread(target=read, daemon=True).start()
    return lines


def find_adjacent_ports(count: int) -> int:
    """The first of so many ports of loopback that are free, one after the other.

    Below those that systems give to connections, so that none of the tests beside this one is given one of them by
    chance. Each process of tests looks from another place on.
    """
    start = 20_000 + os.getpid() * 16 % 10_000
    for first in range(start, start + 2_000):
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError(f"no {count} free ports one after the other from {start} on")
