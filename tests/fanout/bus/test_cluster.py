"""Redis Cluster: the right server for each command, slots that move while they are in use, and a failover.

The other tests of this room run on a cluster too.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fanout.bus.client import CommandRefused, Endpoint, Link
from fanout.bus.cluster import ClusterCalls
from fanout.bus.keys import Keys
from fanout.bus.slots import find_slot
from fanout.development_tls import create_development_certificate
from fanout.errors import ConfigurationError, Unavailable
from tests.fanout.bus.harness import CATCH_ALL, SHORT_LEASE, STREAM, Gateway, Start, message, room, until, until_redis
from tests.faults.proxy import Proxy
from tests.valkey import Valkey, ValkeyCluster, run_valkey_cluster


@pytest.fixture
def cluster(shared_cluster: ValkeyCluster) -> ValkeyCluster:
    for server in shared_cluster.primaries:
        server.client.flushall()
    return shared_cluster


@pytest.fixture
async def cluster_link(cluster: ValkeyCluster) -> AsyncIterator[Link]:
    link = Link(Endpoint(cluster.url), "test")
    yield link
    await link.close()


def slot_of(key: str) -> int:
    slot = find_slot(("GET", key))
    assert slot is not None
    return slot


async def test_answers_come_in_the_order_of_the_commands_from_all_servers(cluster_link: Link) -> None:
    numbers = range(300)
    assert await cluster_link.call(*(("SET", f"k{number}", number) for number in numbers)) == [b"OK"] * 300
    answers = await cluster_link.call(*(("GET", f"k{number}") for number in numbers), ("PING",))
    assert answers == [*(str(number).encode() for number in numbers), b"PONG"]


async def test_a_transaction_stays_together(cluster_link: Link) -> None:
    answers = await cluster_link.call(
        ("SET", "a", 1), ("MULTI",), ("INCR", "b"), ("INCR", "b"), ("EXEC",), ("INCR", "b"), ("SET", "c", 1)
    )
    assert answers == [b"OK", b"OK", b"QUEUED", b"QUEUED", [1, 2], 3, b"OK"]


async def test_refusals_stand_where_their_commands_stood(cluster_link: Link) -> None:
    await cluster_link.call(("SET", "a", "x"), ("SET", "b", "y"))
    refused, value = await cluster_link.call(("INCR", "a"), ("GET", "b"), refusable=1)
    assert isinstance(refused, CommandRefused)
    assert value == b"y"
    with pytest.raises(CommandRefused, match="not an integer"):
        await cluster_link.call(("GET", "a"), ("INCR", "b"), refusable=1)
    with pytest.raises(CommandRefused, match="same slot"):
        await cluster_link.call(("DEL", "a", "b"))


async def test_every_step_of_a_move_is_followed(cluster: ValkeyCluster) -> None:
    """Each step with links that know the map of before, of the step before, and nothing."""
    links = [Link(Endpoint(cluster.url), "test") for _ in range(3)]
    key = "{moving}list"
    pushed: list[bytes] = []
    loop = asyncio.get_running_loop()

    async def push() -> None:
        for link in links:
            numbers = [len(pushed) + number for number in range(3)]
            pushed.extend(str(number).encode() for number in numbers)
            plain, first, second = numbers
            commands = [("RPUSH", key, plain), ("MULTI",), ("RPUSH", key, first), ("RPUSH", key, second), ("EXEC",)]
            # A key that is not there is asked for at the new server, and is made there.
            await link.call(*commands, ("INCR", f"{{moving}}{len(pushed)}"), ("SET", "elsewhere", 1))
            assert (await link.call(("LRANGE", key, 0, -1)))[0] == pushed

    def pause() -> None:
        asyncio.run_coroutine_threadsafe(push(), loop).result(30)

    await push()
    for _ in range(3):
        await asyncio.to_thread(cluster.move_slot, slot_of(key), pause)
    await push()
    assert await links[0].call(*(("GET", f"{{moving}}{count}") for count in range(3, len(pushed), 3))) == [b"1"] * (
        len(pushed) // 3 - 1
    )
    for link in links:
        await link.close()


async def test_keys_of_one_slot_on_two_servers_are_waited_for(cluster: ValkeyCluster) -> None:
    """In the middle of a move, a script may have one of its keys here and one there (TRYAGAIN)."""
    link = Link(Endpoint(cluster.url), "test")
    await link.call(("SET", "{two}a", 1), ("SET", "{two}b", 1))
    for server in cluster.primaries:
        server.client.config_resetstat()
    loop = asyncio.get_running_loop()
    calls: list[asyncio.Task[list[object]]] = []
    script = "return redis.call('MGET', KEYS[1], KEYS[2])"

    async def ask() -> None:
        calls.append(asyncio.create_task(link.call(("EVAL", script, 2, "{two}a", "{two}b"))))
        await until(
            lambda: any("errorstat_TRYAGAIN" in server.client.info("errorstats") for server in cluster.primaries)
        )

    def pause() -> None:
        source = cluster.find_owner(slot_of("{two}"))
        if not calls and len(source.client.execute_command("CLUSTER GETKEYSINSLOT", slot_of("{two}"), 5)) == 1:
            asyncio.run_coroutine_threadsafe(ask(), loop).result(10)

    await asyncio.to_thread(cluster.move_slot, slot_of("{two}"), pause)
    assert await calls[0] == [[b"1", b"1"]]
    await link.close()


async def test_several_servers_may_be_named_and_one_is_enough(cluster: ValkeyCluster, shared_server: object) -> None:
    ports = [server.port for server in cluster.primaries]
    link = Link(Endpoint(f"redis://127.0.0.1:1,127.0.0.1:{ports[1]}"), "test")
    assert await link.call(("SET", "a", 1), ("SET", "b", 1), ("SET", "c", 1)) == [b"OK"] * 3
    await link.close()
    nobody = Link(Endpoint("redis://127.0.0.1:1,127.0.0.1:2"), "test")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        await nobody.call(("PING",))
    await nobody.close()


async def test_several_servers_that_are_no_cluster_are_a_mistake(own_port: int) -> None:
    link = Link(Endpoint(f"redis://127.0.0.1:{own_port},127.0.0.1:1"), "test")
    with pytest.raises(ConfigurationError, match="is in no Redis Cluster"):
        await link.call(("PING",))
    await link.close()


async def test_a_user_who_may_not_see_the_map_is_told_what_to_allow(cluster: ValkeyCluster) -> None:
    for server in cluster.primaries:
        server.client.execute_command("ACL SETUSER limited on >hunter2 ~* +get +client")
    link = Link(Endpoint(cluster.url.replace("redis://", "redis://limited:hunter2@")), "test")
    with pytest.raises(CommandRefused, match=r"ACL \+cluster\|slots"):
        await link.call(*(("GET", f"k{number}") for number in range(20)))
    await link.close()
    for server in cluster.primaries:
        server.client.execute_command("ACL DELUSER limited")


async def test_slots_move_while_events_are_routed_and_nothing_is_lost_or_doubled(
    cluster: ValkeyCluster, start_gateway: Start
) -> None:
    """The slots of the stream, of an inbox, of a bucket, of the paths and of the gateways, each there and on."""
    gateways = [await start_gateway(cluster.url, **SHORT_LEASE) for _ in range(3)]
    for gateway in gateways:
        await gateway.bus.register([room("a")])
    keys = Keys("fanout:")
    moved = [STREAM, *(keys.inbox(gateway.bus.gateway_id) for gateway in gateways)]
    moved += [keys.bucket(room("a")), keys.paths, keys.gateways]
    count = 0
    is_moving = True

    async def publish() -> None:
        nonlocal count
        while is_moving:
            size = 1 + count % 5
            await gateways[count % 3].bus.publish([message("a", count + number) for number in range(size)])
            count += size
            await asyncio.sleep(0)

    loop = asyncio.get_running_loop()

    async def wait_for_more() -> None:
        """Between the steps of a move: events go all the way."""
        target = count + 20
        await until(lambda: all(len(gateway.numbers) >= target for gateway in gateways), "events to arrive", 30)

    publishing = asyncio.create_task(publish())
    for key in moved:
        for _ in range(2):
            await asyncio.to_thread(
                cluster.move_slot,
                slot_of(key),
                lambda: asyncio.run_coroutine_threadsafe(wait_for_more(), loop).result(40),
            )
    is_moving = False
    await publishing
    for gateway in gateways:
        await until(lambda gateway=gateway: len(gateway.numbers) >= count)
        assert gateway.numbers == list(range(count))
        assert gateway.missed == []
    # A registration made on the moved keys is seen.
    await gateways[2].bus.register([room("b")])
    await gateways[0].bus.publish([message("b", count)])
    await until(lambda: gateways[2].numbers[-1] == count)


async def test_tls_and_a_password_hold_for_all_servers(tmp_path: Path, start_gateway: Start) -> None:
    """The embedded server knows no TLS, so each server of the cluster is behind an end of TLS, which it announces."""
    files = create_development_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.cert, files.key)
    with run_valkey_cluster() as own:
        async with AsyncExitStack() as stack:
            ends = [await stack.enter_async_context(Proxy(one.port, tls).running()) for one in own.servers]
            for server, end in zip(own.servers, ends, strict=True):
                server.client.config_set("cluster-announce-port", end.port)
                server.client.config_set("requirepass", "hunter2")
            announced = {end.port for end in ends}
            await until(lambda: all(list_ports(server) == announced for server in own.servers), "the map", 30)
            address = f"127.0.0.1:{ends[0].port}?ssl_ca_certs={files.ca}"
            gateways = [await start_gateway(f"rediss://:hunter2@{address}") for _ in range(2)]
            for gateway in gateways:
                await gateway.bus.register([room("a")])
            for number in range(30):
                await gateways[number % 2].bus.publish([message("a", number)])
            for gateway in gateways:
                await until(lambda gateway=gateway: gateway.numbers == list(range(30)))
            assert all(end.is_used for end in ends)
            for end in ends:
                end.cut()

            async def is_published() -> bool:
                try:
                    return bool(await gateways[0].bus.publish([message("a", 30, key="k")]))
                except Unavailable:
                    return False

            await until_redis(is_published)
            for gateway in gateways:
                await until(lambda gateway=gateway: gateway.numbers == list(range(31)))
                assert gateway.missed == []
                await gateway.bus.stop()
            with pytest.raises(ConfigurationError, match="refuses the user, password"):
                await Gateway(f"rediss://:wrong@{address}").bus.start()
            with pytest.raises(Unavailable, match="cannot be reached"):
                await Gateway(f"rediss://:hunter2@127.0.0.1:{ends[0].port}").bus.start()


def list_ports(server: Valkey) -> set[int]:
    """Where a server of a cluster says that those who own slots are."""
    return {int(primary[1]) for _, _, primary, *_ in server.client.execute_command("CLUSTER SLOTS")}


async def test_a_replica_takes_over_and_subscribers_are_told(start_gateway: Start) -> None:
    with run_valkey_cluster(primaries=3, replicas=3, node_timeout_ms=1500) as own:
        gateways = [await start_gateway(own.url) for _ in range(2)]
        for gateway in gateways:
            await gateway.bus.register([room("a"), CATCH_ALL])
        for number in range(50):
            await gateways[number % 2].bus.publish([message("a", number)])
        for gateway in gateways:
            await until(lambda gateway=gateway: gateway.numbers == list(range(50)))
        victim = own.find_owner(slot_of(STREAM))
        victim.kill()
        await until(lambda: not any(gateway.bus.is_ready for gateway in gateways))
        with pytest.raises(Unavailable):
            await gateways[0].bus.publish([message("a", -1)])
        for gateway in gateways:
            await until(lambda gateway=gateway: "failed-over" in gateway.missed, "the failover to be told", 30)
            await until(lambda gateway=gateway: gateway.bus.is_ready, "readiness", 30)
        told = [len(gateway.missed) for gateway in gateways]
        for number in range(50, 100):
            await gateways[number % 2].bus.publish([message("a", number)])
        for gateway in gateways:
            await until(lambda gateway=gateway: gateway.numbers[-50:] == list(range(50, 100)))
        # The old primary comes back as a replica, which is nothing to tell.
        victim.start()
        await until(lambda: all(gateway.bus.is_ready for gateway in gateways))
        await gateways[0].bus.publish([message("a", 100)])
        for gateway in gateways:
            await until(lambda gateway=gateway: gateway.numbers[-1] == 100)
        assert [len(gateway.missed) for gateway in gateways] == told


async def test_a_server_that_came_back_empty_is_noticed_by_whoever_wrote_to_it() -> None:
    """A bucket may be on a server that is asked for nothing else, and to which nobody holds a blocking read."""
    keys = Keys("fanout:")
    with run_valkey_cluster(primaries=3) as own:

        def find_server(key: str) -> Valkey:
            return own.find_owner(slot_of(key))

        main = find_server(keys.gateways)
        stream = next(name for name in map(str, range(1000)) if find_server(name) is main)
        for _ in range(50):  # until the inbox, whose name is chance, leaves a server free
            gateway = Gateway(own.url, stream=(stream,))
            used = {main, find_server(keys.announcements), find_server(keys.inbox(gateway.bus.gateway_id))}
            if len(used) < 3:
                break
        (free, *_) = [server for server in own.primaries if server not in used]
        await gateway.bus.start()
        name = next(name for name in map(str, range(1000)) if find_server(keys.bucket(room(name))) is free)
        await gateway.bus.register([room(name)])
        free.client.delete(keys.bucket(room(name)))
        free.kill()
        free.start()
        await until(lambda: "membership-lost" in gateway.missed, "the loss to be told", 30)
        await until(lambda: gateway.bus.is_ready)
        assert free.client.smembers(keys.bucket(room(name))) == {gateway.bus.gateway_id}
        await gateway.bus.stop()


async def test_probing_tells_of_a_server_that_does_not_answer() -> None:
    with run_valkey_cluster(primaries=3) as own:
        endpoint = Endpoint(own.url)
        calls = ClusterCalls(endpoint, "test", None)
        await calls.find_out()
        await calls.probe()
        own.primaries[2].kill()
        with pytest.raises(Unavailable, match="cannot be reached"):
            await calls.probe()
        await calls.close()
