"""Peers for the load tests' own parts: the real service, and what the real one cannot do.

That is a stand-in which delivers wrongly when told to, and a WebSocket server that follows a script.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from loadtest.processes import Service, run_service

API_KEY = "api-key"
PUBLISHER_KEY = "publisher-key"


@pytest.fixture(scope="session")
def standin_command() -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("standin.py"))]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with run_service(API_KEY, PUBLISHER_KEY) as running:
        yield running


@pytest.fixture
def scripted() -> Iterator[Callable[..., str]]:
    """Call it with replies by message type: what the peer sends (`$id` is the message's), and `close` to close.

    Returns the HTTP endpoint; the peer serves in a thread until the test ends.
    """
    servers = []

    def start(**replies: list[object]) -> str:
        def converse(connection: ServerConnection) -> None:
            for text in connection:
                message = json.loads(text)
                for reply in replies.get(message["type"], []):
                    if reply == "close":
                        connection.close(4000, "as told")
                        return
                    connection.send(json.dumps(reply).replace("$id", message.get("id", "")))

        server = serve(converse, "127.0.0.1", 0, subprotocols=["graphql-ws"])  # type: ignore[list-item]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}/graphql"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
