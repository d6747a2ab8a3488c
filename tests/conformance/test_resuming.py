"""Clients that nobody here wrote resume: the examples, run as they are, through ends of the service and of history."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conformance.conftest import FOLDER
from tests.served import API_KEY, Served, serve, wait_until
from tests.valkey import Valkey, run_valkey

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """A running example; its output is collected."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.lines, self.process.stdout), (self.errors, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def ids(self) -> list[str]:
        """The ids of the messages that it has printed, as JSON or as Python."""
        return [line.replace('"', "'").split("'id': '")[-1].split("'id':'")[-1].split("'")[0] for line in self.lines]

    def wait_for(self, ids: list[str]) -> None:
        wait_until(lambda: len(self.ids) >= len(ids) or self.process.poll() is not None, 30)
        assert self.ids == ids, "".join(self.errors)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


@contextmanager
def serve_on(valkey: Valkey, port: int = 0) -> Iterator[Served]:
    with serve("--port", str(port), environment={"FANOUT_REDIS_URL": valkey.url}) as served:
        yield served


def publish(valkey: Valkey, *ids: str) -> None:
    for id in ids:
        valkey.add("createMessage", {"id": id, "roomId": "1"})


def check_a_conversation(valkey: Valkey, start: Any) -> None:
    """Load when that can be had, subscribe, be cut off, resume, be cut off for too long, load anew: what the example
    has printed is asserted."""
    with serve_on(valkey) as served:
        port = served.port
    example = start(port)
    try:
        wait_until(lambda: any("not connected" in line for line in example.errors), 30)
        with serve_on(valkey, port) as served:
            wait_until(lambda: served.read_metric("fanout_subscriptions") == 1, 30)
            publish(valkey, "1", "2")
            example.wait_for(["1", "2"])
            served.stop(signal.SIGKILL)
        publish(valkey, "3", "4")
        with serve_on(valkey, port) as served:
            example.wait_for(["1", "2", "3", "4"])
            publish(valkey, "5")
            example.wait_for(["1", "2", "3", "4", "5"])
            served.stop(signal.SIGKILL)
        publish(valkey, "6", "7", "8")
        valkey.client.xtrim("fanout:events", 1, approximate=False)
        with serve_on(valkey, port) as served:
            wait_until(lambda: served.read_metric("fanout_subscriptions") == 1, 30)
            publish(valkey, "9")
            example.wait_for(["1", "2", "3", "4", "5", "9"])
        assert "too much was missed" in "".join(example.errors)
    finally:
        example.stop()


def test_gql(valkey: Valkey) -> None:
    script = str(EXAMPLES / "resuming_gql.py")
    check_a_conversation(valkey, lambda port: Example(sys.executable, script, API_KEY, "1", str(port)))


@pytest.mark.conformance
def test_graphql_ws(node_packages: None, valkey: Valkey, tmp_path: Path) -> None:
    # Packages are looked for beside the script.
    script = tmp_path / "resuming_graphql_ws.mjs"
    script.write_text((EXAMPLES / "resuming_graphql_ws.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    check_a_conversation(valkey, lambda port: Example("node", str(script), API_KEY, "1", str(port)))


def test_ids_are_read_from_either_form() -> None:
    example = Example(sys.executable, "-c", "")
    example.process.wait()
    example.stop()
    data = {"onCreateMessage": {"id": "7", "roomId": "1"}}
    example.lines += [orjson.dumps(data).decode(), str(data)]
    assert example.ids == ["7", "7"]
