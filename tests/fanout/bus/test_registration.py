"""Registration: what is in Redis is what is wanted, whatever is asked for in whatever order, and whatever fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from fanout.bus.client import Command, Endpoint, Link
from fanout.bus.embedded import EmbeddedServer
from fanout.bus.keys import Keys, path_member
from fanout.bus.registration import InboxGone, Registration
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import Bucket
from tests.fanout.bus.harness import room, until

KEYS = Keys("p:")
LINGER_MS = 30_000
BUCKETS = [
    Bucket("f", "a", "1"),
    Bucket("f", "a", "2"),
    Bucket("f", "b", "1"),
    Bucket("g", "a", "1"),
    Bucket("g", "", ""),
]


class FaultyLink(Link):
    """A link whose next calls fail, before or after Redis has executed the commands, or break off in the middle."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint, "test")
        self.faults: list[str] = []
        self.calls: list[tuple[Command, ...]] = []
        self.during: Callable[[], None] | None = None

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[object]:
        self.calls.append(commands)
        if self.during is not None:
            during, self.during = self.during, None
            during()
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "before":
            raise Unavailable("fault")
        done = commands[: len(commands) // 2] if fault == "middle" else commands
        answers = await super().call(*done, wait_ms=wait_ms, refusable=refusable)
        if fault:
            raise Unavailable("fault")
        return answers


class Member:
    """A registration with a clock, and the id of a gateway that has an inbox."""

    def __init__(self, url: str) -> None:
        self.link = FaultyLink(Endpoint(url))
        self.now = 1000.0
        self.metrics = Metrics()
        self.wakes = 0
        self.gateway_id = "g0"
        self.registration = Registration(KEYS, LINGER_MS, self._wake, self.metrics, lambda: self.now)

    def _wake(self) -> None:
        self.wakes += 1

    async def enter(self, gateway_id: str = "g0") -> None:
        self.gateway_id = gateway_id
        await self.link.call(
            ("XADD", KEYS.inbox(gateway_id), "*", "a", "b"),
            ("SADD", KEYS.gateways, gateway_id),
        )

    async def write(self) -> None:
        await self.registration.write_round(self.link, self.gateway_id)

    async def register(self, *buckets: Bucket) -> None:
        """Register and write until it is done."""
        task = asyncio.create_task(self.registration.register(buckets))
        await asyncio.sleep(0)
        while not task.done():
            await self.write()
            await asyncio.sleep(0)

    async def members(self, bucket: Bucket) -> set[bytes]:
        return set((await self.link.call(("SMEMBERS", KEYS.bucket(bucket))))[0])


@pytest.fixture
async def member(url: str) -> AsyncIterator[Member]:
    member = Member(url)
    await member.enter()
    yield member
    await member.link.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("register"), st.lists(st.integers(0, 4), min_size=1, max_size=3)),
        st.tuples(st.just("release"), st.integers(0, 9)),
        st.tuples(st.just("write"), st.sampled_from(["", "", "", "before", "middle", "after"])),
        st.tuples(st.just("write while"), st.lists(st.integers(0, 4), min_size=1, max_size=3)),
        st.tuples(st.just("time"), st.sampled_from([1.0, LINGER_MS / 1000])),
        st.tuples(st.just("enter anew"), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_redis_has_what_a_dict_would_have(shared_server: EmbeddedServer, steps: list[tuple[str, object]]) -> None:
    """The model: registrations counted in a dict, and each released bucket with the time until which it may stay.

    What is asserted after every step stands in `_compare_with_model`.
    """
    asyncio.run(_compare_with_model(shared_server.url, steps))


async def _compare_with_model(url: str, steps: list[tuple[str, object]]) -> None:
    member = Member(url)
    await member.link.call(("FLUSHALL",))
    await member.enter()
    calls: list[tuple[tuple[Bucket, ...], asyncio.Task[None]]] = []
    entered = 0

    def register(indexes: list[int]) -> None:
        buckets = tuple(BUCKETS[index] for index in indexes)
        calls.append((buckets, asyncio.create_task(member.registration.register(buckets))))

    async def check_promises() -> None:
        """Every call that has returned is in Redis, under the id that holds."""
        promised = {bucket for buckets, task in calls if task.done() for bucket in buckets}
        for bucket in promised:
            assert member.gateway_id.encode() in await member.members(bucket), bucket
            path = path_member(member.gateway_id, bucket.field, bucket.path)
            assert (await member.link.call(("SISMEMBER", KEYS.paths, path))) == [1]

    for step, argument in [*steps, ("time", LINGER_MS / 1000), ("write", ""), ("write", "")]:
        if step == "register":
            assert isinstance(argument, list)
            register(argument)
        elif step == "release" and calls:
            assert isinstance(argument, int)
            buckets, task = calls.pop(argument % len(calls))
            if task.done():
                member.registration.release(buckets)
            else:
                task.cancel()
                await asyncio.wait([task])
        elif step == "write":
            assert isinstance(argument, str)
            member.link.faults = [argument] if argument else []
            try:
                await member.write()
            except Unavailable:
                pass
            member.link.faults = []
        elif step == "write while":
            assert isinstance(argument, list)
            member.link.during = lambda argument=argument: register(argument)
            await member.write()
            member.link.during = None
        elif step == "time":
            assert isinstance(argument, float)
            member.now += argument
        elif step == "enter anew":
            entered += 1
            member.registration.forget_written()
            await member.enter(f"g{entered}")
            await member.write()
        await asyncio.sleep(0)
        await check_promises()

    # All that lingered has gone by now, so the sets are exactly what is wanted.
    assert all(task.done() for _, task in calls)
    wanted = Counter(bucket for buckets, _ in calls for bucket in buckets)
    gateway_id = member.gateway_id.encode()
    for bucket in BUCKETS:
        assert (gateway_id in await member.members(bucket)) == (bucket in wanted)
    (paths,) = await member.link.call(("SMEMBERS", KEYS.paths))
    own_paths = {path for path in paths if path.startswith(gateway_id + b"|")}
    assert own_paths == {path_member(member.gateway_id, bucket.field, bucket.path).encode() for bucket in wanted}
    (reverse,) = await member.link.call(("SMEMBERS", KEYS.buckets(member.gateway_id)))
    assert set(reverse) == {KEYS.bucket(bucket).encode() for bucket in wanted}
    assert member.metrics.buckets == len(wanted)
    assert member.registration.next_write_in() is None
    await member.link.close()


async def test_calls_that_come_together_share_a_trip(member: Member) -> None:
    tasks = [asyncio.create_task(member.registration.register([room(str(number % 50))])) for number in range(200)]
    await asyncio.sleep(0)
    member.link.calls.clear()
    await member.write()
    assert len(member.link.calls) == 1
    await asyncio.wait(tasks)
    assert member.metrics.buckets == 50


async def test_a_known_bucket_costs_nothing(member: Member) -> None:
    await member.register(room("a"))
    member.link.calls.clear()
    await member.registration.register([room("a")])
    assert member.link.calls == []
    member.registration.release([room("a"), room("a")])
    await member.registration.register([room("a")])
    member.now += LINGER_MS
    assert member.registration.next_write_in() is None


async def test_a_bucket_is_left_when_it_has_lingered(member: Member, redis: Redis) -> None:
    await member.register(room("a"), room("b"))
    member.registration.release([room("a")])
    member.now += 10
    member.registration.release([room("b")])
    assert member.registration.next_write_in() == LINGER_MS / 1000 - 10
    member.now += LINGER_MS / 1000 - 10
    await member.write()
    assert await member.members(room("a")) == set()
    assert await member.members(room("b")) == {b"g0"}
    assert member.registration.next_write_in() == 10
    version = await redis.get(KEYS.paths_version)
    member.now += 10
    await member.write()
    assert sorted(await redis.keys("p:*")) == ["p:{gateway:g0}:inbox", "p:{gateways}", "p:{paths}:version"]
    assert await redis.get(KEYS.paths_version) != version


async def test_a_leave_and_a_new_join_cannot_cross(member: Member) -> None:
    await member.register(room("a"))
    member.registration.release([room("a")])
    member.now += LINGER_MS / 1000
    tasks: list[asyncio.Task[None]] = []

    def rejoin() -> None:
        tasks.append(asyncio.create_task(member.registration.register([room("a")])))

    member.link.during = rejoin
    await member.write()
    await asyncio.sleep(0)
    assert not tasks[0].done(), "it has to wait: the bucket was just left"
    await member.write()
    await tasks[0]
    assert await member.members(room("a")) == {b"g0"}


async def test_a_failed_round_is_done_again(member: Member) -> None:
    task = asyncio.create_task(member.registration.register([room("a")]))
    await asyncio.sleep(0)
    for fault in ("before", "middle", "after"):
        member.link.faults = [fault]
        with pytest.raises(Unavailable):
            await member.write()
        assert not task.done()
        assert member.registration.next_write_in() == 0
    await member.write()
    await task
    assert await member.members(room("a")) == {b"g0"}


async def test_a_cancelled_call_leaves_nothing_behind(member: Member) -> None:
    task = asyncio.create_task(member.registration.register([room("a")]))
    await asyncio.sleep(0)
    member.link.faults = ["after"]
    with pytest.raises(Unavailable):
        await member.write()
    assert await member.members(room("a")) == {b"g0"}
    task.cancel()
    await asyncio.wait([task])
    member.now += LINGER_MS / 1000
    await member.write()
    assert await member.members(room("a")) == set()


async def test_nothing_is_promised_to_who_is_no_member(member: Member) -> None:
    task = asyncio.create_task(member.registration.register([room("a")]))
    await asyncio.sleep(0)
    await member.link.call(("DEL", KEYS.inbox("g0")))
    with pytest.raises(InboxGone):
        await member.write()
    assert not task.done()
    member.registration.forget_written()
    await member.enter("g1")
    await member.write()
    await task
    assert b"g1" in await member.members(room("a"))


async def test_what_redis_lost_is_noticed(member: Member, redis: Redis) -> None:
    buckets = [room(str(number)) for number in range(5000)]
    await member.register(*buckets)
    await member.registration.write_all(member.link, "g0")
    await redis.srem(KEYS.bucket(buckets[4999]), "g0")
    with pytest.raises(InboxGone):
        await member.registration.write_all(member.link, "g0")
    for key, lost in ((KEYS.paths, "g0|onCreateMessage|roomId"), (KEYS.gateways, "g0")):
        await redis.srem(key, lost)
        with pytest.raises(InboxGone):
            await member.registration.write_all(member.link, "g0")
    await member.registration.write_all(member.link, "g0")


async def test_the_writer_is_woken(member: Member) -> None:
    task = asyncio.create_task(member.registration.register([room("a")]))
    await until(lambda: member.wakes == 1)
    await member.write()
    await task
    member.registration.release([room("a")])
    assert member.wakes == 2
