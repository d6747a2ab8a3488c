"""The bus as a whole: several gateways in one process, one real server, and all that can be broken in between."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from redis.asyncio import Redis

from fanout.bus.embedded import EmbeddedServer
from fanout.errors import ConfigurationError, Unavailable
from fanout.model import Bucket, NewEvent
from fanout.settings import MutationSettings
from tests.fanout.bus.harness import (
    CATCH_ALL,
    SHORT_LEASE,
    STREAM,
    Gateway,
    Start,
    message,
    publish_numbers,
    room,
    set_user,
    until,
    until_redis,
)

(DOCUMENTED_PERMISSIONS,) = re.findall(
    r"^ACL SETUSER fanout (.*)$", Path("docs/operations.md").read_text("utf-8"), re.MULTILINE
)


async def test_one_gateway_gets_its_events_in_order_and_with_all_they_say(url: str, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    await gateway.bus.register([room("a")])
    ids = await gateway.bus.publish([message("a", 1, at_ms=1234), message("a", 2)])
    await until(lambda: len(gateway.events) == 2)
    (stream, first), (_, second) = gateway.events
    assert stream == STREAM
    assert [first.id, second.id] == ids
    assert first.data == {"roomId": "a", "number": 1}
    assert first.raw == b'{"roomId":"a","number":1}'
    assert first.at_ms == 1234
    assert second.at_ms == int(second.id.split("-")[0])
    assert gateway.metrics.events_in == gateway.metrics.events_published == gateway.metrics.events_routed == 2
    assert gateway.metrics.events_forwarded == 0
    assert gateway.bus.is_ready


async def test_anybody_can_publish(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    await redis.xadd(STREAM, {"mutation": "createMessage", "data": '{"roomId": "a", "number": 7}'})
    await until(lambda: gateway.events)
    assert gateway.numbers == [7]


async def test_an_event_is_forwarded_to_gateways_with_a_matching_bucket_only(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    by_room, by_other_room, by_nothing, idle = [await start_gateway(url) for _ in range(4)]
    await by_room.bus.register([room("a")])
    await by_other_room.bus.register([room("b"), Bucket("onUpdateMessage", "roomId", "sa")])
    await by_nothing.bus.register([CATCH_ALL])
    before = [await _appended(redis, gateway) for gateway in (router, by_room, by_other_room, by_nothing, idle)]
    await router.bus.publish([message("a", 1), message("c", 2), message("b", 3)])
    await until(lambda: by_nothing.numbers == [1, 2, 3] and by_room.numbers == [1] and by_other_room.numbers == [3])
    await until(lambda: router.numbers == [1, 2, 3])
    after = [await _appended(redis, gateway) for gateway in (router, by_room, by_other_room, by_nothing, idle)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [0, 1, 1, 3, 0]
    assert router.metrics.events_forwarded == 5
    assert idle.events == []


async def test_a_mutation_reaches_all_its_subscription_fields(url: str, redis: Redis, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    one, other = await start_gateway(url), await start_gateway(url)
    await one.bus.register([Bucket("onUpdateMessage", "author.id", "n5")])
    await other.bus.register([Bucket("onAnyMessage", "author.id", "null")])
    await redis.xadd(STREAM, {"mutation": "updateMessage", "data": '{"author": {"id": 5}, "number": 1}'})
    await redis.xadd(STREAM, {"mutation": "updateMessage", "data": '{"author": null, "number": 2}'})
    await redis.xadd(STREAM, {"mutation": "unlinked", "data": '{"number": 3}'})
    await redis.xadd(STREAM, {"mutation": "createMessage", "data": '{"number": 4}'})
    await until(lambda: len(router.events) == 3 and one.events and other.events)
    assert (router.numbers, one.numbers, other.numbers) == ([1, 2, 4], [1], [2])


async def test_whatever_is_published_after_a_registration_arrives(url: str, start_gateway: Start) -> None:
    """The promise behind `start_ack`, for new paths, new buckets of known paths, and buckets that come back."""
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    gateway = await start_gateway(url, bucket_linger_ms=1)
    expected = []
    for number in range(60):
        bucket = room(f"r{number % 7}") if number % 3 else Bucket("onCreateMessage", "number", f"n{number}")
        await gateway.bus.register([bucket])
        await router.bus.publish([message(f"r{number % 7}", number)])
        expected.append(number)
        await until(lambda: gateway.numbers[-1:] == expected[-1:], f"number {number}")
        gateway.bus.release([bucket])
    assert gateway.numbers == expected


async def test_several_streams_are_read_each_in_order(url: str, redis: Redis, start_gateway: Start) -> None:
    streams = ("one", "two")
    first = await start_gateway(url, stream=streams)
    second = await start_gateway(url, stream=streams)
    for gateway in (first, second):
        await gateway.bus.register([CATCH_ALL])
    for number in range(20):
        await redis.xadd(streams[number % 2], {"mutation": "createMessage", "data": f'{{"number": {number}}}'})
    for gateway in (first, second):
        await until(lambda gateway=gateway: len(gateway.events) == 20)
        for index, stream in enumerate(streams):
            assert [event.data["number"] for name, event in gateway.events if name == stream] == list(
                range(index, 20, 2)
            )
    assert first.metrics.routed_streams + second.metrics.routed_streams == 2


def _held(gateways: list[Gateway]) -> list[int]:
    return sorted(gateway.metrics.routed_streams for gateway in gateways)


async def test_streams_are_spread_over_the_gateways_and_nothing_is_lost_when_they_move(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """Gateways join one after the other and one dies, while events of all streams are published."""
    streams = tuple(f"stream {number}" for number in range(4))
    options = {"stream": streams, **SHORT_LEASE}
    gateways = [await start_gateway(url, **options)]
    await gateways[0].bus.register([CATCH_ALL])
    await until(lambda: _held(gateways) == [4])
    published = dict.fromkeys(streams, 0)
    is_publishing = True

    async def publish() -> None:
        while is_publishing:
            for stream in streams:
                published[stream] += 1
                entry = {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {published[stream]}}}'}
                await redis.xadd(stream, entry)

    def count(gateway: Gateway, stream: str) -> list[int]:
        return [event.data["number"] for name, event in gateway.events if name == stream]

    publishing = asyncio.create_task(publish())
    for expected in ([2, 2], [1, 1, 2]):
        gateways.append(await start_gateway(url, **options))
        await gateways[-1].bus.register([CATCH_ALL])
        await until(lambda expected=expected: _held(gateways) == expected, f"{expected}", 20)
    # It dies: nobody gives anything back.
    dead = next(gateway for gateway in gateways if gateway.metrics.routed_streams == 2)
    for task in dead.bus._tasks:
        task.cancel()
    await asyncio.wait(dead.bus._tasks)
    living = [gateway for gateway in gateways if gateway is not dead]
    await until(lambda: _held(living) == [2, 2], "the others to take over", 20)
    is_publishing = False
    await publishing
    for gateway in living:
        for stream in streams:
            await until(lambda g=gateway, s=stream: count(g, s)[-1:] == [published[s]])
            numbers = count(gateway, stream)
            assert gateway is not gateways[0] or numbers[0] == 1
            assert numbers == list(range(numbers[0], published[stream] + 1))
        assert gateway.missed == []


async def test_events_are_published_to_the_stream_that_is_asked_for_or_set(url: str, start_gateway: Start) -> None:
    gateway = await start_gateway(
        url, stream=("one", "two", "three"), mutations={"updateMessage": MutationSettings(stream="two")}
    )
    update = NewEvent("updateMessage", b'{"number":2}')
    ids = await gateway.bus.publish([message("a", 1), update, message("a", 3, stream="three"), message("a", 4)])
    await until(lambda: len(gateway.events) == 4)
    found = {event.data["number"]: (stream, event.id) for stream, event in gateway.events}
    assert [found[number] for number in (1, 2, 3, 4)] == list(zip(("one", "two", "three", "one"), ids, strict=True))


async def test_a_stopped_gateway_leaves_nothing_behind_and_hands_over_at_once(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    first = await start_gateway(url)
    await until(lambda: first.is_router)
    second = await start_gateway(url)
    await first.bus.register([room("a")])
    await second.bus.register([room("a")])
    await first.bus.stop()
    assert not first.bus.is_ready
    await until(lambda: second.is_router)
    await second.bus.publish([message("a", 1)])
    await until(lambda: second.numbers == [1])
    await second.bus.stop()
    # Only what belongs to the deployment is left.
    assert set(await redis.keys()) == {
        STREAM,
        "fanout:{fanout:events}:checkpoint",
        "fanout:{gateways}:version",
        "fanout:{paths}:version",
    }
    with pytest.raises(Unavailable):
        await second.bus.publish([message("a", 2)])


async def test_events_of_before_the_start_are_for_nobody(url: str, redis: Redis, start_gateway: Start) -> None:
    await redis.xadd(STREAM, {"mutation": "createMessage", "data": '{"number": 1}'})
    gateway = await start_gateway(url)
    await gateway.bus.publish([message("a", 2)])
    await until(lambda: gateway.numbers == [2])
    await gateway.bus.stop()
    await redis.xadd(STREAM, {"mutation": "createMessage", "data": '{"number": 3}'})
    again = await start_gateway(url)
    await again.bus.publish([message("a", 4)])
    await until(lambda: again.numbers == [4])
    assert again.metrics.events_routed == 1
    assert again.missed == []


async def test_broken_connections_lose_nothing(url: str, redis: Redis, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    for gateway in (router, other):
        await gateway.bus.register([room("a")])
    publisher = await start_gateway(url, stream=("unrelated", STREAM))
    for number in range(30):
        await redis.client_kill_filter(_type="normal", skipme=True)
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {number}}}'})
    for gateway in (router, other):
        await until(lambda gateway=gateway: len(gateway.numbers) >= 30)
        assert gateway.numbers == list(range(30))
        assert gateway.missed == []
    await until(lambda: router.bus.is_ready and other.bus.is_ready and publisher.bus.is_ready)


async def test_redis_may_crash_and_come_back_with_its_data(own_server: EmbeddedServer, start_gateway: Start) -> None:
    url = own_server.url
    first, second = await start_gateway(url), await start_gateway(url)
    await first.bus.register([room("a")])
    await second.bus.register([room("a")])
    await publish_numbers(first, "a", range(100))
    own_server.kill()
    await until(lambda: not first.bus.is_ready and not second.bus.is_ready)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await first.bus.publish([message("a", -1)])
    waiting = asyncio.create_task(second.bus.register([room("b")]))
    own_server.start()
    await waiting
    await publish_numbers(first, "a", range(100, 200))
    await first.bus.publish([message("b", 200)])
    for gateway in (first, second):
        await until(lambda gateway=gateway: len(gateway.numbers) >= 201)
        assert gateway.numbers == list(range(201))
        assert gateway.missed == []
    await until(lambda: first.bus.is_ready and second.bus.is_ready)


async def test_redis_may_come_back_without_its_data(
    own_server: EmbeddedServer, short_directory: Path, start_gateway: Start
) -> None:
    url = own_server.url
    gateways = [await start_gateway(url), await start_gateway(url)]
    for gateway in gateways:
        await gateway.bus.register([room("a")])
    await publish_numbers(gateways[0], "a", range(10))
    await until(lambda: all(gateway.numbers == list(range(10)) for gateway in gateways))
    ids = {gateway.bus.gateway_id for gateway in gateways}
    own_server.kill()
    shutil.rmtree(short_directory / "appendonlydir")
    own_server.start()
    await until(lambda: all("membership-lost" in gateway.missed for gateway in gateways))
    await until(lambda: all(gateway.bus.is_ready for gateway in gateways))
    assert ids.isdisjoint({gateway.bus.gateway_id for gateway in gateways})
    for gateway in gateways:
        assert gateway.metrics.missed["membership-lost"] == 1
        gateway.missed.clear()
    # The old registration counts on, and a new one works.
    await gateways[1].bus.register([room("b")])
    await until(lambda: any(gateway.is_router for gateway in gateways))
    await gateways[0].bus.publish([message("a", 10), message("b", 11)])
    await until(lambda: gateways[1].numbers[-2:] == [10, 11])
    await until(lambda: gateways[0].numbers[-1] in (10, 11))
    assert all(gateway.missed == [] for gateway in gateways)


async def test_a_lost_part_of_the_data_is_noticed_too(url: str, redis: Redis, start_gateway: Start) -> None:
    """A replica that took over may lack the last writes: for example a bucket that this gateway is in."""
    gateway = await start_gateway(url)
    await gateway.bus.register([room("a"), room("b")])
    await redis.srem("fanout:bucket:onCreateMessage:roomId:sb", gateway.bus.gateway_id)
    await redis.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: gateway.missed == ["membership-lost"])
    await until(lambda: gateway.bus.is_ready)
    assert await redis.smembers("fanout:bucket:onCreateMessage:roomId:sb") == {gateway.bus.gateway_id}


async def test_a_gateway_that_was_written_off_joins_anew(url: str, redis: Redis, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    gateway = await start_gateway(url)
    await gateway.bus.register([room("a")])
    old_id = gateway.bus.gateway_id
    await redis.delete(f"fanout:{{gateway:{old_id}}}:inbox")
    await until(lambda: gateway.missed == ["membership-lost"] and gateway.bus.is_ready)
    assert gateway.bus.gateway_id != old_id
    assert old_id not in await redis.smembers("fanout:{gateways}")
    await router.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])
    assert await redis.smembers("fanout:bucket:onCreateMessage:roomId:sa") == {gateway.bus.gateway_id}


async def test_a_registration_under_a_lost_membership_is_not_promised(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    gateway = await start_gateway(url, heartbeat_interval_ms=60_000)
    await redis.delete(f"fanout:{{gateway:{gateway.bus.gateway_id}}}:inbox")
    await gateway.bus.register([room("a")])
    assert gateway.missed == ["membership-lost"]
    await router.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])


async def test_a_delivery_that_fails_is_told_and_does_not_stop_the_stream(
    url: str, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(url)
    await until(lambda: gateway.is_router)

    def fail(events: list[object]) -> None:
        gateway.delivering = lambda events: None
        raise ZeroDivisionError

    gateway.delivering = fail
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.missed == ["internal-error"])
    await gateway.bus.publish([message("a", 2)])
    await until(lambda: gateway.numbers == [2])
    assert "ZeroDivisionError" in caplog.text


async def test_a_defect_in_publishing_is_nothing_to_tell_subscribers(
    url: str, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(url)
    publisher = gateway.bus._publishers[STREAM]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publisher, "_take_calls", lambda: [][0])
        publishing = asyncio.create_task(gateway.bus.publish([message("a", 1)]))
        await until(lambda: "defect in the bus (publisher" in caplog.text)
    await publishing
    await until(lambda: gateway.numbers == [1])
    assert gateway.missed == []


async def test_filters_beyond_the_limit_of_paths_get_their_events(url: str, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    gateway = await start_gateway(url, max_indexed_paths=2)
    buckets = [Bucket("onCreateMessage", f"path{number}", "n1") for number in range(5)]
    await gateway.bus.register(buckets)
    assert gateway.metrics.paths_over_limit == 3
    assert gateway.metrics.buckets == 3
    await router.bus.publish([NewEvent("createMessage", b'{"number":%d,"path%d":1}' % (n, n)) for n in range(5)])
    await until(lambda: gateway.numbers == list(range(5)))
    gateway.bus.release(buckets)
    await until(lambda: gateway.metrics.buckets == 0)


async def test_start_says_in_one_line_what_is_wrong(short_directory: Path) -> None:
    gateway = Gateway(f"unix://user:hunter2@{short_directory}/none.sock")
    with pytest.raises(Unavailable, match="No such file or directory; check that it runs") as caught:
        await gateway.bus.start()
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await gateway.bus.stop()


@pytest.mark.single_server
async def test_start_refuses_wrong_credentials(url: str) -> None:
    gateway = Gateway(url.replace("unix://", "unix://nobody:hunter2@"))
    with pytest.raises(ConfigurationError, match="refuses the user, password or database") as caught:
        await gateway.bus.start()
    assert "hunter2" not in str(caught.value)


async def test_the_documented_permissions_are_enough(url: str, redis: Redis, start_gateway: Start) -> None:
    rules = DOCUMENTED_PERMISSIONS.replace("PASSWORD", "hunter2").split()
    await set_user(redis, "fanout", *rules)
    gateways = [await start_gateway(url.replace("://", "://fanout:hunter2@", 1), bucket_linger_ms=1) for _ in range(2)]
    for gateway in gateways:
        await gateway.bus.register([room("a"), CATCH_ALL])
        gateway.bus.release([CATCH_ALL])
    await redis.sadd("fanout:{gateways}", "dead")
    await redis.xadd(STREAM, {"no": "event"})
    await gateways[0].bus.publish([message("a", 1, key="k"), message("a", 2)])
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.numbers == [1, 2])

    async def is_swept() -> bool:
        return not await redis.sismember("fanout:{gateways}", "dead")

    await until_redis(is_swept)
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.bus.is_ready)
        assert gateway.bus.refusal == ""
        await gateway.bus.stop()


async def test_stop_does_not_wait_for_a_redis_that_is_away(own_server: EmbeddedServer) -> None:
    gateway = Gateway(own_server.url)
    await gateway.bus.start()
    own_server.kill()
    async with asyncio.timeout(4):  # else it would wait for ever
        await gateway.bus.stop()
    assert not gateway.bus.is_ready


async def test_no_command_or_script_crosses_hash_slots(short_directory: Path) -> None:
    """A node that serves all slots of a cluster executes whatever is in one slot, and refuses the rest."""
    server = EmbeddedServer(directory=short_directory, arguments=("--cluster-enabled", "yes"))
    url = server.start()
    try:
        async with Redis.from_url(url, decode_responses=True) as redis:
            await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

            async def is_serving() -> bool:
                return "cluster_state:ok" in await redis.execute_command("CLUSTER", "INFO")

            await until_redis(is_serving)
            await redis.sadd("fanout:{gateways}", "dead")
            gateways = [Gateway(url, stream=("{one}:events", "two", "fanout:events")) for _ in range(2)]
            for gateway in gateways:
                await gateway.bus.start()
                await gateway.bus.register([room("a"), CATCH_ALL])
            for stream in gateways[0].settings.stream:
                await redis.xadd(
                    stream, {"mutation": "createMessage", "data": '{"roomId": "a", "number": 1}', "id": "x"}
                )
                await redis.xadd(stream, {"no": "event"})
            await gateways[0].bus.publish([message("b", 2, key="key"), message("b", 3, key="key")])
            for gateway in gateways:
                await until(lambda gateway=gateway: len(gateway.events) == 3)
            gateways[0].bus.release([room("a")])

            async def is_settled() -> bool:
                return not await redis.sismember("fanout:{gateways}", "dead") and (
                    await redis.scard("fanout:bucket:onCreateMessage:roomId:sa") == 1
                )

            await until_redis(is_settled)
            await redis.delete(f"fanout:{{gateway:{gateways[1].bus.gateway_id}}}:inbox")
            await until(lambda: gateways[1].missed == ["membership-lost"])
            await until(lambda: gateways[1].bus.is_ready)
            for gateway in gateways:
                await gateway.bus.stop()
            errors = await redis.info("errorstats")
            assert [name for name in errors if "CROSSSLOT" in name] == []
            assert await redis.smembers("fanout:{gateways}") == set()
    finally:
        server.stop()


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_both_event_loops(shared_server: EmbeddedServer, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def scenario() -> None:
        gateways = [Gateway(shared_server.url, key_prefix="loops:", stream=("loops:events",)) for _ in range(2)]
        for gateway in gateways:
            await gateway.bus.start()
            await gateway.bus.register([room("a")])
        await publish_numbers(gateways[0], "a", range(500))
        for gateway in gateways:
            await until(lambda gateway=gateway: gateway.numbers == list(range(500)))
        async with Redis.from_url(shared_server.url) as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)
        await until(lambda: all(gateway.bus.is_ready for gateway in gateways))
        await publish_numbers(gateways[0], "a", range(500, 600))
        for gateway in gateways:
            await until(lambda gateway=gateway: len(gateway.events) >= 600)
            assert gateway.numbers == list(range(600))
            await gateway.bus.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


async def _appended(redis: Redis, gateway: Gateway) -> int:
    info = await redis.xinfo_stream(f"fanout:{{gateway:{gateway.bus.gateway_id}}}:inbox")
    return int(info["entries-added"])
