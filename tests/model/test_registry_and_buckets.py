"""Registry and bucket index together, under any sequence of operations and failures, against a dict.

Two gateways with real connections, sessions, registries and memberships write to a real Redis; the calls of each
membership pass one by one, in the order that hypothesis chooses, and break off where it likes. At every step:

- every event reaches exactly the live subscribers that its filter lets through, each once, in order (promises 2 and 5);
- a router that has watched from the beginning finds every gateway that has an acknowledged match (promise 1);
- whatever stands in a bucket can be cleaned up by others.

At rest the index is exact, and at the end nothing is left.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, cast
from unittest.mock import patch

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis

from fanout.bus import Bus
from fanout.bus import bus as bus_module
from fanout.bus import membership as membership_module
from fanout.bus.client import Endpoint, Link
from fanout.bus.keys import Keys
from fanout.bus.lookup import Lookup
from fanout.bus.sweep import clean
from fanout.model import Bucket, Event
from fanout.settings import Settings
from filters import bucket_keys, parse_filter, to_subscription_filter
from filters.model import MATCH_ALL
from tests.fanout.bus.harness import ROUTES
from tests.fanout.protocol.judge import read_frames
from tests.filters import oracle
from tests.fuzz.effort import fuzzed
from tests.fuzz.wire import Client, Wire
from tests.model.gated import GatedLink, NoPause
from tests.served import API_KEY

FIELD = "onCreateMessage"
FILTERS: list[dict[str, Any]] = [
    {},
    {"roomId": {"eq": "a"}},
    {"roomId": {"eq": "b"}},
    {"roomId": {"in": ["a", "b"]}},
    {"author": {"eq": "x"}},
    {"or": [{"roomId": {"eq": "a"}}, {"author": {"eq": "y"}}]},
    {"roomId": {"eq": "a"}, "author": {"eq": "x"}},
    {"priority": {"gt": 1}},
]
SELECTIONS = ["id", "id roomId"]
EVENTS = [
    {"id": str(number), "roomId": room, "author": author, "priority": priority}
    for number, (room, author, priority) in enumerate(itertools.product(["a", "b", "c"], ["x", "y"], [1, 2]))
]
GATEWAYS, CLIENTS, IDS = range(2), range(2), ("1", "2")
# What is hard is done to the same things again and again: so a few of them come up more often than the others.
gateways = st.sampled_from([0, 0, 0, 1])
clients = st.sampled_from(CLIENTS)
ids = st.sampled_from(IDS)
filter_numbers = st.sampled_from([1, 1, 1, 1, 0, 2, 3, 4, 5, 6, 7])
selection_numbers = st.sampled_from([0, 0, 0, 1])
LINGER_MS = 1000
FOREVER_MS = 10**9
SETTINGS = Settings(
    heartbeat_interval_ms=FOREVER_MS,
    heartbeat_timeout_ms=3 * FOREVER_MS,
    bucket_linger_ms=LINGER_MS,
    lease_ms=FOREVER_MS,
)

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def buckets_of(filter_number: int) -> frozenset[Bucket]:
    nested = FILTERS[filter_number]
    filter = parse_filter(to_subscription_filter(nested)) if nested else MATCH_ALL
    return frozenset(Bucket(FIELD, path, token) for path, token in bucket_keys(filter))


class Gateway:
    """One gateway: its connections, and its membership on a gated link."""

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self.wire = Wire(max_outgoing_bytes=10**9)
        links: dict[str, Link] = {}

        def open_link(endpoint: Endpoint, name: str, lost: Callable[[], None]) -> Link:
            kind = GatedLink if name == "fanout-control" else Link
            links[name] = kind(endpoint, name, lost)
            return links[name]

        with patch.object(bus_module, "Link", open_link):
            bus = Bus(SETTINGS, url, ROUTES.get, lambda stream, events: None, self._lost, self.wire.harness.metrics)
        self.links = links
        self.link = cast(GatedLink, links["fanout-control"])
        self.membership = bus._local.membership
        self.membership.registration._now = now
        self.wire.harness.subscriptions._directory = self.membership.registration
        self.clients: dict[int, Client] = {}
        self.has_lost = False

    @property
    def id(self) -> str:
        return self.membership.gateway_id

    async def start(self) -> None:
        entering = asyncio.create_task(self.membership.enter())
        await self.wire.settle()
        await self.let_all_pass()
        await entering
        self._task = asyncio.create_task(self.membership.run())
        await self.wire.settle()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await self.wire.harness.subscriptions.stop()
        for link in self.links.values():
            await link.close()

    def _lost(self, reason: str) -> None:
        # As the service does: whoever is subscribed is told.
        self.has_lost = True
        self.wire.harness.gateway.close_subscribers(reason)
        self.clients = {number: client for number, client in self.clients.items() if not client.protocol.closing}

    async def let_all_pass(self) -> None:
        await self.wire.settle()
        while self.link.is_waiting:
            await self.link.let_pass()
            await self.wire.settle()


class Machine(RuleBasedStateMachine):
    """The model is `subscriptions`: filter, selection and whether it was acknowledged, by gateway, client and id."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        super().__init__()
        self.run: Run = runner.run
        self.now_s = 0.0
        self.subscriptions: dict[tuple[int, int, str], tuple[int, int, bool]] = {}
        self.written_off: set[int] = set()
        self.run(self._start(url))

    async def _start(self, url: str) -> None:
        self.redis = Redis.from_url(url, decode_responses=True)
        await self.redis.flushall()
        self.keys = Keys("fanout:")
        self.router_link = Link(Endpoint(url), "router")
        self.lookup = Lookup(self.keys, lambda: "the router")
        self.gateways = [Gateway(url, lambda: self.now_s) for _ in GATEWAYS]
        for gateway in self.gateways:
            await gateway.start()

    # What happens

    @rule(g=gateways, c=clients, id=ids, f=filter_numbers, s=selection_numbers)
    def subscribe(self, g: int, c: int, id: str, f: int, s: int) -> None:
        if (g, c, id) in self.subscriptions:
            return
        query = f"subscription($f: MessageFilterInput) {{ {FIELD}(filter: $f) {{ {SELECTIONS[s]} }} }}"
        data = orjson.dumps({"query": query, "variables": {"f": FILTERS[f] or None}}).decode()
        extensions = {"authorization": {"host": "localhost", "x-api-key": API_KEY}}
        self.subscriptions[g, c, id] = f, s, False
        client = self.client(g, c)
        self.run(self.say(client, {"type": "start", "id": id, "payload": {"data": data, "extensions": extensions}}))

    @precondition(lambda self: self.subscriptions)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        """Live or still pending."""
        g, c, id = key = data.draw(st.sampled_from(sorted(self.subscriptions)))
        self.run(self.say(self.client(g, c), {"type": "stop", "id": id}))
        del self.subscriptions[key]

    @rule(g=gateways, c=clients)
    def lose_connection(self, g: int, c: int) -> None:
        client = self.gateways[g].clients.pop(c, None)
        if client is not None:
            self.run(self.lose(client))
            self.forget(g, lambda key: key[1] == c)

    @rule(g=gateways, c=clients)
    def redirect(self, g: int, c: int) -> None:
        """The client reads slowly for a while, or again: its subscriptions get another write function."""
        client = self.gateways[g].clients.get(c)
        if client is None:
            return
        if client.transport.is_stalled:
            client.transport.resume()
        else:
            client.transport.is_stalled = True
            client.transport.set_write_buffer_limits(high=0)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), is_all=st.booleans())
    def let_calls_pass(self, data: st.DataObject, is_all: bool) -> None:
        g = data.draw(st.sampled_from(self.waiting))
        self.run(self.gateways[g].let_all_pass() if is_all else self.gateways[g].link.let_pass())
        self.run(self.settle())

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), executed=st.integers(0, 12))
    def break_a_call_off(self, data: st.DataObject, executed: int) -> None:
        """The connection to Redis is lost when some of the commands have been executed."""
        g = data.draw(st.sampled_from(self.waiting))
        self.run(self.gateways[g].link.let_pass(executed))
        self.run(self.settle())

    @rule(ms=st.sampled_from([2 * LINGER_MS, LINGER_MS, LINGER_MS // 2]))
    def let_time_pass(self, ms: int) -> None:
        self.now_s += ms / 1000
        for gateway in self.gateways:
            gateway.membership._wake.set()
        self.run(self.settle())

    @precondition(lambda self: len(self.written_off) < 1)
    @rule(g=gateways)
    def write_off(self, g: int) -> None:
        """Another gateway takes this one for dead and cleans up after it; it finds out by itself."""
        self.run(clean(self.router_link, self.keys, self.gateways[g].id))
        self.written_off.add(g)

    @rule()
    def come_to_rest(self) -> None:
        """Everything gets through, and lingering is over: then the index is exact."""
        self.run(self.rest())
        for gateway, buckets in zip(self.gateways, self.run(self.read_buckets()), strict=True):
            g = self.gateways.index(gateway)
            wanted = {
                bucket for key, (f, _, _) in self.subscriptions.items() if key[0] == g for bucket in buckets_of(f)
            }
            assert buckets == {self.keys.bucket(bucket) for bucket in wanted}
        assert all(acknowledged for _, _, acknowledged in self.subscriptions.values())

    # What holds at every step

    @invariant()
    def every_event_reaches_exactly_the_live_matching_subscribers(self) -> None:
        self.take_messages()
        for g, gateway in enumerate(self.gateways):
            gateway.wire.deliver(*EVENTS)
            for c, client in gateway.clients.items():
                received: dict[str, list[Any]] = {}
                for message in read_messages(client):
                    assert message["type"] == "data", message
                    received.setdefault(message["id"], []).append(message["payload"]["data"][FIELD])
                assert received == self.expect(g, c)

    @invariant()
    def every_router_finds_whoever_was_acknowledged(self) -> None:
        events = [(Event(f"1-{number}", "createMessage", data, b"", 0), (FIELD,)) for number, data in enumerate(EVENTS)]
        targets, _ = self.run(self.lookup.find(self.router_link, events))
        for g, gateway in enumerate(self.gateways):
            if g in self.written_off:
                continue
            for data, found in zip(EVENTS, targets, strict=True):
                is_wanted = any(
                    key[0] == g and acknowledged and matches(f, data)
                    for key, (f, _, acknowledged) in self.subscriptions.items()
                )
                assert gateway.id in found or not is_wanted

    @invariant()
    def what_is_in_a_bucket_can_be_cleaned_up(self) -> None:
        self.run(self.check_reverse_lists())

    def teardown(self) -> None:
        try:
            self.run(self.check_nothing_is_left())
        finally:
            self.run(self._stop())

    async def _stop(self) -> None:
        for gateway in self.gateways:
            await gateway.stop()
        await self.router_link.close()
        await self.redis.aclose()

    async def check_nothing_is_left(self) -> None:
        for gateway in self.gateways:
            for client in gateway.clients.values():
                client.lose()
        await self.rest()
        for gateway in self.gateways:
            metrics = gateway.wire.harness.metrics
            assert (metrics.subscriptions, metrics.groups, metrics.buckets) == (0, 0, 0)
            assert len(gateway.wire.harness.registry.groups) == 0
        kept = ("heartbeat", "inbox", "checkpoint")
        left = {key for key in await self.redis.keys() if not key.endswith(kept)}
        assert left <= {"fanout:{gateways}", "fanout:{gateways}:version", "fanout:{paths}:version"}
        assert await self.redis.smembers("fanout:{gateways}") == {gateway.id for gateway in self.gateways}

    # How it is done

    @property
    def waiting(self) -> list[int]:
        """The gateways with a call that waits to pass."""
        return [g for g, gateway in enumerate(self.gateways) if gateway.link.is_waiting]

    def client(self, g: int, c: int) -> Client:
        clients = self.gateways[g].clients
        if c not in clients:
            clients[c] = self.run(self.open_client(g))
        return clients[c]

    async def open_client(self, g: int) -> Client:
        client = Client(self.gateways[g].wire)
        client.open()
        client.say({"type": "connection_init"})
        client.take_written()
        return client

    async def say(self, client: Client, message: object) -> None:
        client.say(message)
        await self.settle()

    async def lose(self, client: Client) -> None:
        client.lose()
        await self.settle()

    async def settle(self) -> None:
        await self.gateways[0].wire.settle()
        for g, gateway in enumerate(self.gateways):
            if gateway.has_lost:
                gateway.has_lost = False
                self.written_off.discard(g)
                self.forget(g, lambda key, g=g: key[1] not in self.gateways[g].clients)

    async def rest(self) -> None:
        for _ in range(3):  # what is released by the first passes lingers, and is left by the last
            for gateway in self.gateways:
                gateway.membership._next_beat = 0  # by which it learns that it was written off
                gateway.membership._wake.set()
                await gateway.let_all_pass()
            self.now_s += 2 * LINGER_MS / 1000
            for gateway in self.gateways:
                gateway.membership._wake.set()
        for gateway in self.gateways:
            await gateway.let_all_pass()
        await self.settle()
        self.take_messages()

    def take_messages(self) -> None:
        """Note what was acknowledged."""
        for g, gateway in enumerate(self.gateways):
            for c, client in gateway.clients.items():
                for message in read_messages(client):
                    if message["type"] == "start_ack":
                        f, s, was_acknowledged = self.subscriptions[g, c, message["id"]]
                        assert not was_acknowledged
                        self.subscriptions[g, c, message["id"]] = f, s, True
                    else:
                        assert message["type"] == "complete"

    def expect(self, g: int, c: int) -> dict[str, list[Any]]:
        expected: dict[str, list[Any]] = {}
        for (gateway, client, id), (f, s, acknowledged) in self.subscriptions.items():
            if (gateway, client) == (g, c) and acknowledged:
                names = SELECTIONS[s].split()
                data = [{name: event[name] for name in names} for event in EVENTS if matches(f, event)]
                if data:
                    expected[id] = data
        return expected

    def forget(self, g: int, is_gone: Callable[[tuple[int, int, str]], bool]) -> None:
        for key in list(self.subscriptions):
            if key[0] == g and is_gone(key):
                del self.subscriptions[key]

    async def read_buckets(self) -> list[set[str]]:
        keys = [key async for key in self.redis.scan_iter("fanout:bucket:*")]
        members = [await self.redis.smembers(key) for key in keys]
        return [{key for key, ids in zip(keys, members, strict=True) if gateway.id in ids} for gateway in self.gateways]

    async def check_reverse_lists(self) -> None:
        for gateway, buckets in zip(self.gateways, await self.read_buckets(), strict=True):
            assert buckets <= await self.redis.smembers(self.keys.buckets(gateway.id))


def matches(filter_number: int, data: dict[str, Any]) -> bool:
    return oracle.satisfies(FILTERS[filter_number], data) is not False


def read_messages(client: Client) -> Iterable[dict[str, Any]]:
    return [orjson.loads(frame.data) for frame in read_frames(client.take_written())]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Runner]:
    monkeypatch.setattr(membership_module, "Backoff", NoPause)
    monkeypatch.setattr(membership_module._logger, "level", logging.ERROR)  # losing Redis is what this is about
    with asyncio.Runner() as runner:
        yield runner


def test_registry_and_buckets(server_url: str, runner: asyncio.Runner) -> None:
    examples = max(1, fuzzed.max_examples // 3)
    run_state_machine_as_test(
        lambda: Machine(server_url, runner), settings=settings(fuzzed, max_examples=examples, stateful_step_count=40)
    )
