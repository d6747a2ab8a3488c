"""Looking up: the other gateways in the buckets of an event, as they are when the lookup begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from redis.asyncio import Redis

from fanout.bus.client import Command, Endpoint, Link
from fanout.bus.keys import Keys, path_member
from fanout.bus.lookup import Lookup
from fanout.model import Bucket, Event

KEYS = Keys("p:")


def event(data: object) -> Event:
    return Event("1-0", "m", data, orjson.dumps(data), 1)


class CountingLink(Link):
    trips = 0
    commands = 0
    before: Callable[[], Awaitable[object]] | None = None

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[object]:
        self.trips += 1
        self.commands += len(commands)
        if self.before is not None:
            await self.before()
        return await super().call(*commands, wait_ms=wait_ms, refusable=refusable)


async def join(redis: Redis, gateway_id: str, *buckets: Bucket) -> None:
    await redis.sadd(KEYS.gateways, gateway_id)
    await redis.set(KEYS.gateways_version, f"with {gateway_id}")
    for bucket in buckets:
        await redis.sadd(KEYS.paths, path_member(gateway_id, bucket.field, bucket.path))
        await redis.sadd(KEYS.bucket(bucket), gateway_id)
        await redis.set(KEYS.paths_version, f"{gateway_id} {bucket}")


async def test_each_event_has_its_gateways(link: Link, redis: Redis) -> None:
    await join(redis, "one", Bucket("f", "a.b", "n5"), Bucket("f", "c", "null"))
    await join(redis, "two", Bucket("f", "a.b", "n5"), Bucket("g", "", ""))
    await join(redis, "own", Bucket("f", "a.b", "n5"), Bucket("h", "x", "true"))
    lookup = Lookup(KEYS, lambda: "own")
    targets, answers = await lookup.find(
        link,
        [
            (event({"a": {"b": 5}, "c": 1}), ("f",)),
            (event({"a": {"b": 5.0}}), ("f",)),
            (event({"a": {"b": "5"}, "c": 1}), ("f",)),
            (event({"a": {"b": "5"}, "c": 1}), ("f", "g")),
            (event([]), ("f",)),
            (event({"x": True}), ("h",)),
            (event({"x": True}), ("unknown",)),
        ],
    )
    assert [sorted(target) for target in targets] == [["one", "two"], ["one", "two"], [], ["two"], ["one"], [], []]
    assert answers == []
    assert lookup.others == {"one", "two"}


async def test_alone_only_the_versions_are_read(url: str, redis: Redis) -> None:
    link = CountingLink(Endpoint(url), "test")
    await join(redis, "own", Bucket("f", "a", "n1"))
    lookup = Lookup(KEYS, lambda: "own")
    await lookup.refresh(link)
    link.trips = link.commands = 0
    targets, (answer,) = await lookup.find(link, [(event({"a": 1}), ("f",))] * 100, [("ECHO", "beside")])
    assert targets == [frozenset()] * 100
    assert answer == b"beside"
    assert (link.trips, link.commands) == (1, 3)
    await link.close()


async def test_equal_buckets_are_read_once(url: str, redis: Redis) -> None:
    link = CountingLink(Endpoint(url), "test")
    await join(redis, "one", Bucket("f", "a", "n1"), Bucket("f", "", ""))
    lookup = Lookup(KEYS, lambda: "own")
    await lookup.refresh(link)
    link.trips = link.commands = 0
    targets, _ = await lookup.find(link, [(event({"a": number % 2}), ("f",)) for number in range(100)])
    assert targets == [frozenset({"one"})] * 100
    assert (link.trips, link.commands) == (1, 2 + 3)
    await link.close()


async def test_whoever_registered_before_the_lookup_is_found(link: Link, redis: Redis) -> None:
    """Whatever was remembered: a new gateway, a new path, a new bucket of a known path."""
    lookup = Lookup(KEYS, lambda: "own")
    events = [(event({"a": 1, "b": 2}), ("f",))]
    assert (await lookup.find(link, events))[0] == [frozenset()]
    await join(redis, "one", Bucket("f", "a", "n1"))
    assert (await lookup.find(link, events))[0] == [{"one"}]
    await join(redis, "two", Bucket("f", "b", "n2"))
    assert (await lookup.find(link, events))[0] == [{"one", "two"}]
    await redis.sadd(KEYS.bucket(Bucket("f", "a", "n1")), "three")
    assert (await lookup.find(link, events))[0] == [{"one", "two", "three"}]


async def test_changes_without_end_do_not_hold_up_the_stream(url: str, redis: Redis) -> None:
    """What changes after the one refresh, which came after the events were read, matters to later events."""
    link = CountingLink(Endpoint(url), "test")
    lookup = Lookup(KEYS, lambda: "own")
    await lookup.refresh(link)
    await join(redis, "one", Bucket("f", "a", "n1"))
    link.before = lambda: redis.set(KEYS.paths_version, f"change {link.trips}")
    link.trips = 0
    assert (await lookup.find(link, [(event({"a": 1}), ("f",))]))[0] == [{"one"}]
    assert link.trips == 3
    link.before = None
    await join(redis, "two", Bucket("f", "b", "null"))
    assert (await lookup.find(link, [(event({"a": 1}), ("f",))]))[0] == [{"one", "two"}]
    await link.close()


async def test_commands_beside_are_repeated_with_the_lookup(link: Link, redis: Redis) -> None:
    lookup = Lookup(KEYS, lambda: "own")
    await lookup.refresh(link)
    await join(redis, "one", Bucket("f", "a", "n1"))
    targets, answers = await lookup.find(
        link, [(event({"a": 1}), ("f",))], [("INCR", "n"), ("XINFO", "STREAM", "x")], 2
    )
    assert targets == [{"one"}]
    assert answers[0] == 2
    assert isinstance(answers[1], Exception)


async def test_what_was_remembered_can_be_forgotten(link: Link, redis: Redis) -> None:
    lookup = Lookup(KEYS, lambda: "own")
    await lookup.refresh(link)
    await redis.sadd(KEYS.gateways, "unseen")  # without a new version, as after a loss of data
    await lookup.find(link, [])
    assert lookup.others == frozenset()
    lookup.forget()
    await lookup.find(link, [])
    assert lookup.others == {"unseen"}


async def test_gateways_are_taken_out_of_what_was_looked_up(link: Link, redis: Redis) -> None:
    await join(redis, "one", Bucket("f", "a", "n1"))
    await join(redis, "two", Bucket("f", "a", "n1"), Bucket("f", "a", "n2"))
    lookup = Lookup(KEYS, lambda: "own")
    await lookup.find(link, [(event({"a": 1}), ("f",))])
    await lookup.remove(link, {"two", "three"})
    assert await redis.smembers(KEYS.bucket(Bucket("f", "a", "n1"))) == {"one"}
    assert await redis.smembers(KEYS.bucket(Bucket("f", "a", "n2"))) == {"two"}


async def test_a_new_own_id_is_still_oneself(link: Link, redis: Redis) -> None:
    own_id = "old"
    lookup = Lookup(KEYS, lambda: own_id)
    await join(redis, "one", Bucket("f", "a", "n1"))
    await lookup.refresh(link)
    own_id = "new"
    await join(redis, "new", Bucket("f", "a", "n1"))
    assert (await lookup.find(link, [(event({"a": 1}), ("f",))]))[0] == [{"one"}]
    assert lookup.others == {"one"}


async def test_a_directory_that_changes_all_the_time_holds_nothing_up(url: str, redis: Redis) -> None:
    await join(redis, "one", Bucket("f", "a", "n1"))
    link = CountingLink(Endpoint(url), "test")
    lookup = Lookup(KEYS, lambda: "own")
    changes = 0

    async def change() -> None:
        nonlocal changes
        changes += 1
        await redis.set(KEYS.paths_version, f"change {changes}")

    link.before = change
    for _ in range(5):
        targets, _ = await lookup.find(link, [(event({"a": 1}), ("f",))])
        assert targets == [frozenset({"one"})]
    assert link.trips == 10  # a refresh and a look-up for each
    await link.close()
