"""What a change of the schema or of settings ends, and what goes on, seen from the clients; and in which steps."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest

from fanout.api import Api
from fanout.engine import Registry
from fanout.gateway import Ended, Oversight
from fanout.model import CloseReason
from fanout.schema import parse_schema
from fanout.settings import Settings, SubscriptionSettings
from tests.fanout.gateway.conftest import Harness, expect_close
from tests.served import wait_until_async

OLD = """
type Message { id: ID! content: String author: String }
type Query { version: String }
type Mutation { createMessage(id: ID): Message deleteMessage(id: ID): Message }
type Subscription {
  onCreateMessage(roomId: ID, author: String): Message @aws_subscribe(mutations: ["createMessage"])
  onDeleteMessage: Message @aws_subscribe(mutations: ["deleteMessage"])
}
"""
NEW = """
type Message { id: ID! content: [String] }
type Query { version: String }
type Mutation { createMessage(id: ID): Message }
type Subscription {
  onCreateMessage(roomId: Int, author: String): Message @aws_subscribe(mutations: ["createMessage"])
}
"""
SELECTIONS = {
    "kept": "subscription { onCreateMessage { id content } }",
    "field gone": "subscription { onDeleteMessage { id } }",
    "selection gone": "subscription { onCreateMessage { id author } }",
    "argument's type": 'subscription { onCreateMessage(roomId: "a") { id } }',
}


async def change_to(harness: Harness, sdl: str, **settings: Any) -> Ended:
    return await harness.change_api(Api(parse_schema(sdl), Settings(**settings)))


async def test_a_change_of_the_schema_ends_only_what_is_not_valid_any_more(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings()))
    async with harness.connect() as client:
        for id, query in SELECTIONS.items():
            await client.subscribe(id, query)
        harness.deliver({"id": "1", "content": ["a"]})
        before = dict([await client.receive_data() for _ in range(2)])
        assert "String cannot represent" in before["kept"]["errors"][0]["message"]
        ended = await change_to(harness, NEW)
        assert (ended.connections, ended.subscriptions) == (0, 3)
        told = [await client.receive() for _ in range(3)]
        assert {message["id"] for message in told} == SELECTIONS.keys() - {"kept"}
        assert all(message["type"] == "error" for message in told)
        harness.deliver({"id": "2", "content": ["a"], "author": "b"})
        # The projection is that of the new schema.
        assert await client.receive_data() == ("kept", {"data": {"onCreateMessage": {"id": "2", "content": ["a"]}}})
        # The group is the one that new subscribers join.
        await client.subscribe("joined", SELECTIONS["kept"])
        assert harness.metrics.groups == 1
        # What has ended is free, and has left its buckets.
        assert {bucket.field for bucket in harness.directory.registered} == {"onCreateMessage"}
        assert (await client.start("field gone", SELECTIONS["field gone"]))["type"] == "error"
    assert harness.metrics.subscriptions_ended == {"schema-changed": 3}


async def test_those_who_would_get_other_events_are_asked_to_come_again(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings()))
    numeric = OLD.replace("roomId: ID", "roomId: Int")
    async with harness.connect() as changed, harness.connect() as kept:
        await changed.subscribe("s", "subscription { onCreateMessage(roomId: 1) { id } }")
        await kept.subscribe("s", SELECTIONS["kept"])
        ended = await change_to(harness, numeric)
        assert (ended.connections, ended.subscriptions) == (1, 1)
        await expect_close(changed, CloseReason.API_CHANGED)
        harness.deliver({"id": "2"})
        await kept.receive_data()
        # So are all on a field whose filters are set anew.
        rules = {"onCreateMessage": SubscriptionSettings(filter={"author": {"ne": "x"}})}
        ended = await change_to(harness, numeric, subscriptions=rules)
        assert ended.connections == 1
        await expect_close(kept, CloseReason.API_CHANGED)
    assert harness.metrics.groups == 0


async def test_a_pending_subscription_goes_through_a_change_too(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings()))
    harness.directory.open.clear()
    async with harness.connect() as client:
        for id in ("kept", "field gone"):
            await client.send_start(id, SELECTIONS[id])
        await wait_until_async(lambda: harness.metrics.groups == 2)
        await change_to(harness, NEW)
        assert (await client.receive())["id"] == "field gone"
        harness.directory.open.set()
        assert await client.receive() == {"type": "start_ack", "id": "kept"}
        harness.deliver({"id": "2", "content": ["a"]})
        assert await client.receive_data() == ("kept", {"data": {"onCreateMessage": {"id": "2", "content": ["a"]}}})


def finish(coroutine: Any) -> Any:
    """Run what is left of a coroutine that only gives way to others."""
    while True:
        try:
            next(coroutine)
        except StopIteration as stopped:
            return stopped.value


async def test_planning_anew_is_done_in_steps_and_misses_nobody(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Registry] = []

    def list_groups(registry: Registry) -> Any:
        looks.append(registry)
        return registry._groups.values()

    monkeypatch.setattr(Registry, "groups", property(list_groups))
    harness.api.become(Api(parse_schema(OLD), Settings(max_subscriptions_per_connection=1000)))
    async with harness.connect() as client, harness.connect() as late:
        for number in range(100):
            await client.subscribe(str(number), f'subscription {{ onCreateMessage(author: "{number}") {{ id }} }}')
        planned: list[Any] = []
        other = Api(parse_schema(NEW), Settings())
        former = harness.api.planner

        def replan(plan: Any) -> Any:
            planned.append(plan)
            return other.planner.replan(plan, former)

        # Each look at the clock takes 5 ms, so that a turn has a budget for a few plans.
        clock = itertools.count(0, 0.005)
        oversight = Oversight(harness.gateway, harness.registry, harness.metrics, lambda: next(clock))
        changing = oversight.change_api(replan, lambda: harness.api.become(other))
        coroutine = changing.__await__()
        next(coroutine)
        assert len(planned) == 4
        # Meanwhile the former API is served, and who comes then is looked at as well.
        await late.subscribe("s", SELECTIONS["selection gone"])
        assert finish(coroutine).subscriptions == 1
        assert len(planned) == 101
        # Once for those of the beginning, once for who came since, once at the end: not once for each step.
        assert len(looks) == 3
        assert (await late.receive())["type"] == "error"
        harness.deliver({"id": "2", "author": "7"})
        assert (await client.receive_data())[0] == "7"


async def test_planning_anew_ends_although_new_groups_keep_coming(harness: Harness) -> None:
    harness.api.become(Api(parse_schema(OLD), Settings(max_subscriptions_per_connection=1000)))
    async with harness.connect() as client:
        await client.subscribe("first", SELECTIONS["kept"])
        other = Api(parse_schema(NEW), Settings())
        former = harness.api.planner
        # Each plan takes a second, many times the budget, and after each of them there is a new one to be made.
        clock = itertools.count()
        oversight = Oversight(harness.gateway, harness.registry, harness.metrics, lambda: next(clock))
        changing = oversight.change_api(
            lambda plan: other.planner.replan(plan, former), lambda: harness.api.become(other)
        )
        coroutine = changing.__await__()
        number = 0
        with suppress(StopIteration):
            for number in range(100):
                next(coroutine)
                await client.subscribe(str(number), f'subscription {{ onCreateMessage(author: "{number}") {{ id }} }}')
        assert number < 10
        harness.deliver({"id": "2", "author": "0"})
        assert {(await client.receive_data())[0] for _ in range(2)} == {"first", "0"}
