"""Resuming after a disconnect, with real processes: every event once and in order, or told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import orjson
import pytest

from tests.served import API_KEY, AppSyncClient, Served, connect_appsync, serve, wait_until_async
from tests.valkey import Valkey, run_valkey

IN_ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id } }"
ROOMS = 5
CLIENTS = 200


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


def serve_on(valkey: Valkey, *arguments: str) -> Any:
    environment = {
        "FANOUT_REDIS_URL": valkey.url,
        "FANOUT_LEASE_MS": "900",
        "FANOUT_HEARTBEAT_INTERVAL_MS": "300",
        "FANOUT_HEARTBEAT_TIMEOUT_MS": "1500",
    }
    return serve(*arguments, environment=environment)


class Resuming:
    """A client that keeps what it received and the last position it was told, as an application would."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.position: str | None = None
        self.ids: list[str] = []

    async def start(self, client: AppSyncClient) -> dict[str, Any]:
        """Subscribe, after the last position if there is one. Returns the answer."""
        self._client = client
        fanout = {} if self.position is None else {"after": self.position}
        answer = await client.start("s", IN_ROOM, {"room": self.room}, fanout=fanout)
        if answer["type"] == "start_ack":
            self._note(answer["payload"])
        return answer

    async def receive(self) -> None:
        _, payload = await self._client.receive_data()
        self.ids.append(payload["data"]["onCreateMessage"]["id"])
        self._note(payload)

    async def receive_until(self, id: str) -> None:
        while not self.ids or self.ids[-1] != id:
            await self.receive()

    def cut(self) -> None:
        """End the connection at once, with whatever is unread."""
        self._client.connection.transport.abort()

    def _note(self, payload: dict[str, Any]) -> None:
        self.position = payload["extensions"]["fanout"]["position"]


def ask_position(served: Served) -> str:
    response = httpx.post(
        f"{served.url}/graphql",
        headers={"x-api-key": API_KEY},
        json={"query": "{ __typename }", "extensions": {"fanout": {}}},
    )
    return str(response.json()["extensions"]["fanout"]["position"])


async def test_the_clients_of_a_killed_gateway_resume_on_another_and_share_the_reading(valkey: Valkey) -> None:
    published: list[str] = []

    def publish(count: int) -> None:
        with valkey.client.pipeline(transaction=False) as pipeline:
            for number in range(len(published), len(published) + count):
                data = orjson.dumps({"id": str(number), "roomId": str(number % ROOMS)})
                pipeline.xadd("fanout:events", {"mutation": "createMessage", "data": data})
                published.append(str(number))
            pipeline.execute()

    with serve_on(valkey) as dies, serve_on(valkey) as lives:
        clients = [Resuming(str(number % ROOMS)) for number in range(CLIENTS)]
        async with AsyncExitStack() as stack:
            for client in clients:
                await client.start(await stack.enter_async_context(connect_appsync(dies.url)))
            await wait_until_async(lambda: dies.read_metric("fanout_subscriptions") == CLIENTS)
            publish(200)
            # They are in different places when the gateway goes: some have got nothing, some everything.
            for number, client in enumerate(clients):
                for _ in range(number % 41):
                    await client.receive()
            dies.process.send_signal(signal.SIGKILL)
            dies.process.wait()
            for client in clients:
                client.cut()
        publish(200)
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(connect_appsync(lives.url)) for _ in clients]
            publish(50)
            started = [asyncio.create_task(c.start(n)) for c, n in zip(clients, connections, strict=True)]
            publish(50)
            assert {(await start)["type"] for start in started} == {"start_ack"}
            publish(200)
            for room in range(ROOMS):
                valkey.add("createMessage", {"id": "last", "roomId": str(room)})
            await asyncio.gather(*(client.receive_until("last") for client in clients))
            await wait_until_async(lambda: lives.read_metric("fanout_subscriptions") == CLIENTS)
        for client in clients:
            assert client.ids == [id for id in published if int(id) % ROOMS == int(client.room)] + ["last"]
        assert lives.read_metric("fanout_resumes_total") == CLIENTS
        # One pass over what was missed, and short ones for those who came a little later: not one for each client.
        assert lives.read_metric("fanout_entries_replayed_total") < 10 * len(published)


async def test_what_is_not_kept_any_more_is_told_before_anything_is_delivered(valkey: Valkey) -> None:
    with serve_on(valkey) as served:
        client = Resuming("1")
        async with connect_appsync(served.url) as connection:
            await client.start(connection)
            for number in range(10):
                valkey.add("createMessage", {"id": str(number), "roomId": "1"})
            await client.receive_until("3")
        valkey.client.xtrim("fanout:events", 5, approximate=False)
        async with connect_appsync(served.url) as connection:
            answer = await client.start(connection)
            assert (answer["type"], answer["id"]) == ("error", "s")
            (error,) = answer["payload"]["errors"]
            assert (error["errorType"], error["errorCode"]) == ("PositionExpired", 410)
            # The connection stays, and what is kept can be had.
            client.position = None
            await client.start(connection)
            valkey.add("createMessage", {"id": "new", "roomId": "1"})
            await client.receive_until("new")
            assert client.ids == ["0", "1", "2", "3", "new"]


async def test_positions_do_not_outlive_their_stream(valkey: Valkey) -> None:
    with serve_on(valkey) as served:
        client = Resuming("1")
        async with connect_appsync(served.url) as connection:
            await client.start(connection)
            valkey.add("createMessage", {"id": "0", "roomId": "1"})
            await client.receive_until("0")
            valkey.client.delete("fanout:events")
            valkey.add("createMessage", {"id": "1", "roomId": "1"})
            await connection.connection.wait_closed()
            assert connection.connection.close_code == 4605
        async with connect_appsync(served.url) as connection:
            answer = await client.start(connection)
            assert answer["payload"]["errors"][0]["errorType"] == "PositionExpired"


async def test_load_then_subscribe_from_there_has_no_hole(valkey: Valkey) -> None:
    with serve_on(valkey) as one, serve_on(valkey) as two:
        valkey.add("createMessage", {"id": "before", "roomId": "1"})
        client = Resuming("1")
        client.position = ask_position(one)
        valkey.add("createMessage", {"id": "between", "roomId": "1"})
        async with connect_appsync(two.url) as connection:
            await client.start(connection)
            valkey.add("createMessage", {"id": "after", "roomId": "1"})
            await client.receive_until("after")
            assert client.ids == ["between", "after"]


async def test_a_client_that_got_no_event_yet_resumes_from_its_acknowledgement(valkey: Valkey) -> None:
    with serve_on(valkey) as served:
        valkey.add("createMessage", {"id": "old", "roomId": "1"})
        client = Resuming("1")
        async with connect_appsync(served.url) as connection:
            await client.start(connection)
        for number in range(5):
            valkey.add("createMessage", {"id": str(number), "roomId": "1"})
        async with connect_appsync(served.url) as connection:
            await client.start(connection)
            await client.receive_until("4")
        assert client.ids == ["0", "1", "2", "3", "4"]


async def test_with_several_streams_each_goes_on_where_it_was(valkey: Valkey) -> None:
    streams = ("fanout:events", "orders", "alerts")
    options = [part for stream in streams for part in ("--stream", stream)]
    with serve_on(valkey, *options) as one, serve_on(valkey, *options) as two:
        client = Resuming("1")
        expected: dict[str, list[str]] = {stream: [] for stream in streams}
        count = 0

        def publish(number: int) -> None:
            nonlocal count
            for _ in range(number):
                stream = streams[count * count % 7 % 3]
                room = str(count % 2)
                valkey.add("createMessage", {"id": f"{stream} {count}", "roomId": room}, stream)
                if room == "1":
                    expected[stream].append(f"{stream} {count}")
                count += 1

        for turn in range(6):
            async with connect_appsync((one, two)[turn % 2].url) as connection:
                assert (await client.start(connection))["type"] == "start_ack"
                publish(20)
                # Left in the middle of what is there.
                for _ in range(7):
                    await client.receive()
                client.cut()
        async with connect_appsync(two.url) as connection:
            await client.start(connection)
            total = sum(map(len, expected.values()))
            while len(client.ids) < total:
                await client.receive()
            for stream in streams:
                assert [id for id in client.ids if id.split(" ")[0] == stream] == expected[stream]
