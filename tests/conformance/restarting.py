"""A served process that can be ended and come back on the same port. Knows no client."""

import re
import signal
import ssl
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from tests.served import PUBLISHER_KEY, Served, serve, wait_until


class RestartingService:
    """The service on a loopback port, with TLS or without.

    Args:
        tls: serve with `--tls-dev`; `ca` is then the certificate that clients have to trust.
    """

    def __init__(self, *, tls: bool) -> None:
        self._options = ["--tls-dev"] if tls else []
        self._stack = ExitStack()
        self._served = self._start(port=0)
        self.url = self._served.url
        found = re.search(r"CA to trust\s+(.+)", "".join(self._served.output))
        self.ca = Path(found[1].strip()) if found else None

    def restart(self, number: signal.Signals) -> None:
        """End the process with SIGTERM, which drains, or SIGKILL, which cuts every connection; then serve again."""
        port = self._served.port
        self._served.stop(number)
        self._stack.close()
        self._served = self._start(port)

    def stop(self) -> None:
        """End the process."""
        self._stack.close()

    def publish(self, messages: list[dict[str, Any]]) -> None:
        """Publish messages of the chat API, in this order, as one list to `/events`."""
        events = [{"mutation": "createMessage", "data": message} for message in messages]
        verify = ssl.create_default_context(cafile=self.ca) if self.ca else True
        answer = httpx.post(f"{self.url}/events", json=events, headers={"x-api-key": PUBLISHER_KEY}, verify=verify)
        assert answer.status_code == 202, answer.text

    def wait_for_subscriptions(self, count: int) -> None:
        """Wait until the service has so many live subscriptions."""
        wait_until(lambda: self._served.read_metric("fanout_subscriptions") == count, 30)

    def wait_for_connections(self, dialect: str, count: int) -> None:
        """Wait until so many connections are open, all of them in this dialect."""

        def is_so() -> bool:
            of_dialect = self._served.read_metric(rf'fanout_connections\{{dialect="{dialect}"\}}')
            return of_dialect == self._served.read_metric("fanout_connections") == count

        wait_until(is_so, 30)

    def _start(self, port: int) -> Served:
        # The last of two ports counts.
        return self._stack.enter_context(serve("--port", str(port), *self._options))
