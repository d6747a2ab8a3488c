"""Two gateway processes and one Redis: each gets what its subscribers match, and clients notice no router's end."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.served import Served, connect_appsync, serve, wait_until_async
from tests.valkey import Valkey, run_valkey

IN_ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id } }"
FILTERED = "subscription On($filter: MessageFilterInput) { onCreateMessage(filter: $filter) { id } }"


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


@pytest.fixture
def gateways(valkey: Valkey) -> Iterator[list[Served]]:
    """Two gateways, the router first."""
    environment = {
        "FANOUT_REDIS_URL": valkey.url,
        "FANOUT_LEASE_MS": "900",
        "FANOUT_HEARTBEAT_INTERVAL_MS": "300",
        "FANOUT_HEARTBEAT_TIMEOUT_MS": "1500",
    }
    with serve(environment=environment) as one, serve(environment=environment) as two:
        yield sorted((one, two), key=lambda served: -served.read_metric("fanout_routed_streams"))


async def test_an_event_reaches_matching_subscribers_on_both_and_no_other_gateway(
    valkey: Valkey, gateways: list[Served]
) -> None:
    router, other = gateways
    assert router.read_metric("fanout_routed_streams") == 1
    async with connect_appsync(router.url) as here, connect_appsync(other.url) as there:
        await here.subscribe("one", IN_ROOM, {"room": "1"})
        valkey.add("createMessage", {"id": "a", "roomId": "1"})
        assert await here.receive_data() == ("one", {"data": {"onCreateMessage": {"id": "a"}}})

        await there.subscribe("two", IN_ROOM, {"room": "2"})
        await there.subscribe("either", FILTERED, {"filter": {"roomId": {"in": ["2", "3"]}, "content": {"ne": "no"}}})
        for id, room, content in (("b", "1", ""), ("c", "2", ""), ("d", "9", ""), ("e", "3", "no"), ("f", "3", "yes")):
            valkey.add("createMessage", {"id": id, "roomId": room, "content": content})
        assert await here.receive_data() == ("one", {"data": {"onCreateMessage": {"id": "b"}}})
        received = [await there.receive_data() for _ in range(3)]
        ids = [(id, payload["data"]["onCreateMessage"]["id"]) for id, payload in received]
        assert sorted(ids) == [("either", "c"), ("either", "f"), ("two", "c")]
        # `a`, `b` and `d` were not sent to the gateway without a subscriber in their buckets.
        assert other.read_metric("fanout_events_in_total") == 3
        assert router.read_metric("fanout_events_forwarded_total") == 3

        for client in (here, there):  # and nothing else is on its way
            await client.subscribe("last", IN_ROOM, {"room": "last"})
        valkey.add("createMessage", {"id": "z", "roomId": "last"})
        assert (await here.receive_data())[0] == "last"
        assert (await there.receive_data())[0] == "last"


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
async def test_when_the_router_ends_another_goes_on_without_a_gap(
    valkey: Valkey, gateways: list[Served], signal_number: signal.Signals
) -> None:
    router, other = gateways
    async with connect_appsync(other.url) as client:
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        for number in range(100):
            valkey.add("createMessage", {"id": str(number), "roomId": "1"})
            if number == 50:
                router.process.send_signal(signal_number)
        received = [(await client.receive_data())[1]["data"]["onCreateMessage"]["id"] for _ in range(100)]
        assert received == [str(number) for number in range(100)]
        await wait_until_async(lambda: other.read_metric("fanout_routed_streams") == 1)


async def test_redis_away_and_back_with_its_data_loses_nothing(valkey: Valkey, gateways: list[Served]) -> None:
    clients = [connect_appsync(served.url) for served in gateways]
    async with clients[0] as one, clients[1] as two:
        for client in (one, two):
            await client.subscribe("s", IN_ROOM, {"room": "1"})
        for number in range(10):
            valkey.add("createMessage", {"id": str(number), "roomId": "1"})
        valkey.kill()
        for served in gateways:
            await wait_until_async(lambda served=served: httpx.get(f"{served.url}/readyz").status_code == 503)
            assert httpx.get(f"{served.url}/healthz").status_code == 200
        valkey.start()
        for number in range(10, 20):
            valkey.add("createMessage", {"id": str(number), "roomId": "1"})
        for client in (one, two):
            received = [(await client.receive_data())[1]["data"]["onCreateMessage"]["id"] for _ in range(20)]
            assert received == [str(number) for number in range(20)]
        for served in gateways:
            await wait_until_async(lambda served=served: httpx.get(f"{served.url}/readyz").status_code == 200)


async def test_a_subscription_made_while_redis_is_away_is_acknowledged_when_it_is_back(
    valkey: Valkey, gateways: list[Served]
) -> None:
    async with connect_appsync(gateways[1].url) as client:
        valkey.kill()
        await client.send_start("s", IN_ROOM, {"room": "1"})
        valkey.start()
        assert await client.receive() == {"type": "start_ack", "id": "s"}
        valkey.add("createMessage", {"id": "1", "roomId": "1"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "1"


async def test_clients_are_told_when_redis_comes_back_without_its_data(valkey: Valkey, gateways: list[Served]) -> None:
    async with connect_appsync(gateways[0].url) as one, connect_appsync(gateways[1].url) as two:
        for client in (one, two):
            await client.subscribe("s", IN_ROOM, {"room": "1"})
        valkey.kill()
        valkey.wipe()
        valkey.start()
        for client in (one, two):
            await client.connection.wait_closed()
            assert client.connection.close_code == 4605
    async with connect_appsync(gateways[1].url) as again:
        await again.subscribe("s", IN_ROOM, {"room": "1"})
        valkey.add("createMessage", {"id": "new", "roomId": "1"})
        assert (await again.receive_data())[1]["data"]["onCreateMessage"]["id"] == "new"


async def test_a_gateway_that_was_stopped_for_too_long_tells_its_clients(
    valkey: Valkey, gateways: list[Served]
) -> None:
    router, other = gateways
    async with connect_appsync(other.url) as client, connect_appsync(router.url) as witness:
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        await witness.subscribe("s", IN_ROOM, {"room": "1"})
        other.process.send_signal(signal.SIGSTOP)
        try:
            await wait_until_async(lambda: any("gone" in line or "clean" in line for line in router.log))
            valkey.add("createMessage", {"id": "1", "roomId": "1"})
            assert (await witness.receive_data())[1]["data"]["onCreateMessage"]["id"] == "1"
        finally:
            other.process.send_signal(signal.SIGCONT)
        await client.connection.wait_closed()
        assert client.connection.close_code == 4605


async def test_a_malformed_entry_is_put_aside_and_stops_nobody(valkey: Valkey, gateways: list[Served]) -> None:
    async with connect_appsync(gateways[1].url) as client:
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        valkey.client.xadd("fanout:events", {"mutation": "createMessage", "data": "{"})
        valkey.client.xadd("fanout:events", {"nonsense": "x"})
        valkey.add("createMesage", {"id": "typo", "roomId": "1"})
        valkey.add("createMessage", {"id": "good", "roomId": "1"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "good"
        await wait_until_async(lambda: gateways[0].read_metric("fanout_dead_letters_total") == 3)
        (stream,) = valkey.client.keys("*dead*")
        assert valkey.client.xlen(stream) == 3
