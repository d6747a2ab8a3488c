"""A real Valkey for tests, on loopback: killed, restarted with or without its data, and always ended."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import redis

from fanout.bus.embedded import find_binary
from tests.served import wait_until


class Valkey:
    """A server process on one port, over one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port, decode_responses=True)

    def start(self, *options: str) -> None:
        """Start it, with options of the server beside our own."""
        command = [str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._directory)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command += ["--repl-diskless-sync-delay", "0"]
        command += options
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self) -> None:
        """End it as a crash would; what was written stays on disk."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.client.connection_pool.disconnect()

    def wipe(self) -> None:
        """Lose all data, while it does not run."""
        for path in sorted(self._directory.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def add(self, mutation: str, data: object, stream: str = "fanout:events") -> str:
        """XADD, as any publisher does."""
        return str(self.client.xadd(stream, {"mutation": mutation, "data": orjson.dumps(data)}))

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:  # also while it loads its data
            return False


@contextmanager
def run_valkey(*options: str) -> Iterator[Valkey]:
    """A server that runs until the block ends."""
    with tempfile.TemporaryDirectory(prefix="fanout-test-") as directory:
        server = Valkey(Path(directory))
        server.start(*options)
        try:
            yield server
        finally:
            server.client.close()
            server.kill()
