"""The reference: the broadcast that one would write with FastAPI, served by uvicorn in its best form.

    python -m loadtest.reference WEBSOCKETS_IMPLEMENTATION

One coroutine and one `send_text` per subscriber; the text is made once per event and joined with the subscriber's id.
It speaks as much of AppSync's dialect as a client needs to subscribe to a room, checks nothing, filters nothing, and
takes events by `POST /publish`.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect

from loadtest import appsync, chat
from loadtest.marks import Mark
from loadtest.processes import run_program
from loadtest.publisher import build_messages, post

WEBSOCKETS = "websockets-sansio"
"""uvicorn's fastest implementation; measured against `wsproto` and `websockets`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A running reference server: its URL and its process."""

    url: str
    pid: int
    connection: socket.socket

    def publish(self, marks: Sequence[Mark]) -> None:
        """POST events, one after the other; returns once the last has been broadcast."""
        for message in build_messages(marks):
            post(self.connection, message, "the reference server")


@contextmanager
def run_reference(*, websockets: str = WEBSOCKETS, cores: Collection[int] | None = None) -> Iterator[Reference]:
    """Serve it while the context lasts.

    Raises:
        ProcessError: it did not start.
    """
    line = [sys.executable, "-m", "loadtest.reference", websockets]
    with run_program(line, cores=cores) as (url, process):
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Reference(url, process.pid, connection)


def build_app() -> FastAPI:
    """The application."""
    app = FastAPI()
    rooms: defaultdict[str, dict[WebSocket, str]] = defaultdict(dict)

    @app.websocket("/graphql")
    async def subscribe(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol=appsync.SUBPROTOCOL)
        room = None
        try:
            while True:
                message: dict[str, Any] = json.loads(await websocket.receive_text())
                if message["type"] == "connection_init":
                    await websocket.send_text('{"type":"connection_ack"}')
                elif message["type"] == "start":
                    room = json.loads(message["payload"]["data"])["variables"]["roomId"]
                    rooms[room][websocket] = message["id"]
                    await websocket.send_text(json.dumps({"type": "start_ack", "id": message["id"]}))
        except WebSocketDisconnect:
            if room is not None:
                rooms[room].pop(websocket, None)

    @app.post("/publish", status_code=204)
    async def publish(request: Request) -> None:
        body = (await request.body()).decode()
        tail = f'","type":"data","payload":{{"data":{{"{chat.SUBSCRIPTION_FIELD}":{body}}}}}}}'
        for websocket, id in list(rooms[json.loads(body)["roomId"]].items()):
            await websocket.send_text('{"id":"' + id + tail)

    return app


def main(websockets: str) -> None:
    """Serve on a free port and print its URL."""
    from loadtest.fleet import raise_descriptor_limit

    raise_descriptor_limit()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(f"reference on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        config = uvicorn.Config(
            build_app(),
            loop="uvloop",
            http="httptools",
            ws=websockets,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            lifespan="off",
            access_log=False,
            log_level="warning",
            backlog=4096,
        )
        uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main(sys.argv[1])
