"""A client under test: a Node process that is told what to do and tells what happens (clients/driver.mjs)."""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0
FOLDER = Path(__file__).parent


class NodeClient:
    """One script of `clients/`, running."""

    def __init__(
        self, script: str, endpoint: str, api_key: str, ca: Path | None, more: Mapping[str, str] | None = None
    ) -> None:
        environment = os.environ | {"ENDPOINT": endpoint, "API_KEY": api_key} | (more or {})
        if ca:
            environment["NODE_EXTRA_CA_CERTS"] = str(ca)
        self._process = subprocess.Popen(
            ["node", str(FOLDER / "clients" / script)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=self._read_output), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def subscribe(self, name: str, query: str, variables: dict[str, Any]) -> None:
        self._tell({"do": "subscribe", "name": name, "query": query, "variables": variables})

    def unsubscribe(self, name: str) -> None:
        self._tell({"do": "unsubscribe", "name": name})

    def next_message(self) -> dict[str, Any]:
        """The next thing that happened: `next`, `error` or `complete` of a subscription."""
        try:
            return self._said.get(timeout=TIMEOUT_S)
        except queue.Empty:
            raise AssertionError(f"nothing happened for {TIMEOUT_S:g} s\n{''.join(self._errors)}") from None

    def take_deliveries(self, count: int) -> dict[str, list[Any]]:
        """The next `count` payloads by subscription, in order; anything else that happens fails."""
        taken: dict[str, list[Any]] = {}
        for _ in range(count):
            message = self.next_message()
            assert "next" in message, f"{message}\n{''.join(self._errors)}"
            taken.setdefault(message["name"], []).append(message["next"])
        return taken

    def finish(self) -> list[dict[str, Any]]:
        """End the process in good order; returns what it said that was not taken."""
        self._process.stdin.close()
        assert self._process.wait(TIMEOUT_S) == 0, "".join(self._errors)
        self._join()
        return list(self._said.queue)

    def kill(self) -> None:
        """End the process in any case; nothing happens if it has ended."""
        self._process.kill()
        self._process.wait()
        self._join()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            stream.close()

    def _tell(self, command: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _read_output(self) -> None:
        for line in self._process.stdout:
            message = json.loads(line)
            if "note" in message:
                self._errors.append(f"note: {message['note']}\n")
            else:
                self._said.put(message)

    def _read_errors(self) -> None:
        self._errors.extend(self._process.stderr)
