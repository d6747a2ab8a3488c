"""A stand-in for the service that can be told to deliver wrongly, since the real one does not.

Takes what `loadtest.processes.run_service` gives, serves AppSync's dialect and both ways of publishing for the chat
API, and with `--redis-url` the event stream. `--wrong KIND` makes every 7th delivery `drop`, `duplicate`, `stray`
(another room gets it) or `swap` (it is held back until the one after it); with `all`, nothing is delivered.
"""

import argparse
import asyncio
import json
import os
import socket
import uuid

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

_EVERY = 7


class Standin:
    def __init__(self, wrong: str | None) -> None:
        self.wrong = wrong
        self.deliveries = 0
        self.subscribers: dict[tuple[WebSocket, str], list[str]] = {}
        self.held: dict[tuple[WebSocket, str], str] = {}

    async def deliver(self, message: dict) -> None:
        if self.wrong == "all":
            return
        for (connection, id), rooms in list(self.subscribers.items()):
            if message["roomId"] not in rooms:
                if self.wrong == "stray" and self._is_turn():
                    await connection.send_text(_data(id, message))
                continue
            text = _data(id, message)
            is_turn = self._is_turn()
            if is_turn and self.wrong == "drop":
                continue
            if is_turn and self.wrong == "swap" and (connection, id) not in self.held:
                self.held[connection, id] = text
                continue
            await connection.send_text(text)
            if is_turn and self.wrong == "duplicate":
                await connection.send_text(text)
            if (held := self.held.pop((connection, id), None)) is not None:
                await connection.send_text(held)

    def _is_turn(self) -> bool:
        self.deliveries += 1
        return self.deliveries % _EVERY == 0

    async def converse(self, connection: WebSocket) -> None:
        await connection.accept(subprotocol="graphql-ws")
        try:
            async for text in connection.iter_text():
                message = json.loads(text)
                match message["type"]:
                    case "connection_init":
                        ack = {"type": "connection_ack", "payload": {"connectionTimeoutMs": 300_000}}
                        await connection.send_text(json.dumps(ack))
                        await connection.send_text('{"type":"ka"}')
                    case "start":
                        variables = json.loads(message["payload"]["data"])["variables"]
                        rooms = variables.get("rooms") or [variables["roomId"]]
                        self.subscribers[connection, message["id"]] = rooms
                        await connection.send_text(json.dumps({"type": "start_ack", "id": message["id"]}))
                    case "stop":
                        del self.subscribers[connection, message["id"]]
                        await connection.send_text(json.dumps({"type": "complete", "id": message["id"]}))
        except WebSocketDisconnect:
            pass
        for key in [key for key in self.subscribers if key[0] is connection]:
            del self.subscribers[key]

    async def follow(self, redis_url: str, started: asyncio.Event) -> None:
        async with Redis.from_url(redis_url) as client:
            last = "0-0"
            started.set()
            while True:
                answer = await client.xread({"fanout:events": last}, block=1000)
                for _, entries in answer.items() if isinstance(answer, dict) else answer:
                    for entry_id, fields in entries:
                        last = entry_id
                        await self.deliver(json.loads(fields[b"data"]))


def _data(id: str, message: dict) -> str:
    return json.dumps({"type": "data", "id": id, "payload": {"data": {"onCreateMessage": message}}})


def build_app(standin: Standin) -> FastAPI:
    app = FastAPI()

    @app.get("/readyz")
    async def readyz() -> str:
        return "ready"

    @app.get("/metrics")
    async def metrics() -> str:
        return ""

    @app.post("/events", status_code=202)
    async def publish(request: Request) -> dict:
        assert request.headers["x-api-key"] == os.environ["FANOUT_PUBLISHER_KEY"]
        await standin.deliver((await request.json())["data"])
        return {"ids": ["1-1"]}

    @app.post("/graphql")
    async def mutate(request: Request) -> dict:
        assert request.headers["x-api-key"] == os.environ["FANOUT_API_KEY"]
        message = (await request.json())["variables"]["input"] | {"id": str(uuid.uuid4()), "createdAt": "now"}
        await standin.deliver(message)
        return {"data": {"createMessage": message}}

    app.add_api_websocket_route("/graphql", standin.converse)
    return app


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--redis-url")
    parser.add_argument("--workers", type=int, default=1, help="taken, but it is always one process")
    parser.add_argument("--wrong", choices=("all", "drop", "duplicate", "stray", "swap"))
    options = parser.parse_args()
    standin = Standin(options.wrong)
    with socket.create_server((options.host, options.port), backlog=1024) as listener:
        if options.redis_url:
            started = asyncio.Event()
            follower = asyncio.create_task(standin.follow(options.redis_url, started))
            follower.add_done_callback(lambda task: task.cancelled() or task.result())
            await started.wait()
        print(f"stand-in on http://127.0.0.1:{listener.getsockname()[1]}/graphql", flush=True)
        config = uvicorn.Config(build_app(standin), ws="websockets-sansio", log_level="warning")
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(main())
