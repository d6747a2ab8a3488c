"""Subscriptions on a field with a resolver: what it sets. While it runs: test_starts.py."""

from __future__ import annotations

import asyncio

import pytest

from fanout.model import AuthMode, CloseReason, Identity
from fanout.schema import Invocation, Resolved, ResolverFault
from tests.fanout.gateway.conftest import FIELD, IN_ROOM, OTHER_KEY, Harness, expect_close, open_other, serve_anew
from tests.scripted_resolver import ScriptedResolver, by_room, equal_to
from tests.served import API_KEY, wait_until_async


async def test_its_filter_takes_the_place_of_the_arguments(harness: Harness, resolver: ScriptedResolver) -> None:
    async with harness.connect() as client:
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        harness.deliver(
            {"id": "empty", "roomId": "1", "content": ""},
            {"id": "other", "roomId": "2", "content": "c"},
            {"id": "mine", "roomId": "1", "content": "c"},
        )
        assert (await client.receive_data())[1] == {"data": {"onCreateMessage": {"id": "mine"}}}
        (invocation,) = resolver.invocations
        assert (invocation.type_name, invocation.field_name) == FIELD
        assert invocation.arguments == {"roomId": "1"}
        assert invocation.variables == {"room": "1"}
        assert invocation.source is None
        assert invocation.caller.headers["x-api-key"] == API_KEY
        (connection,) = harness.gateway.connections
        assert invocation.caller.identity == connection.identity
        assert invocation.describe_selection().names == ("id",)


async def test_it_runs_for_each_and_equal_filters_are_one_group(harness: Harness, resolver: ScriptedResolver) -> None:
    count = 300
    tasks = len(asyncio.all_tasks())
    async with harness.connect() as one, harness.connect(key=OTHER_KEY) as two:
        connecting = len(asyncio.all_tasks())
        for number in range(count):
            await (one, two)[number % 2].send_start(f"s{number}", IN_ROOM, {"room": "1"})
        for number in range(count):
            assert (await (one, two)[number % 2].receive())["type"] == "start_ack"
        assert len(resolver.invocations) == count
        assert harness.metrics.groups == 1
        assert len(harness.directory.registered) == 1
        assert harness.subscriptions.own_plans == {}
        assert len(asyncio.all_tasks()) == connecting >= tasks


@pytest.mark.parametrize("dialect", ["appsync", "transport_ws", "apollo_ws"])
async def test_its_errors_are_told_in_every_dialect(harness: Harness, resolver: ScriptedResolver, dialect: str) -> None:
    def refuse(_: Invocation) -> Resolved:
        raise ResolverFault(
            "Not Authorized to access onCreateMessage on type Subscription",
            error_type="Unauthorized",
            data={"id": "1", "content": "secret"},
            error_info={"room": "closed"},
        )

    resolver.script = refuse
    async with harness.connect() if dialect == "appsync" else open_other(harness, dialect) as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
    message = "Not Authorized to access onCreateMessage on type Subscription"
    assert (answer["type"], answer["id"]) == ("error", "s")
    extra = {"errorType": "Unauthorized", "data": {"id": "1"}, "errorInfo": {"room": "closed"}}
    match dialect:
        case "appsync":
            assert answer["payload"] == {"errors": [{"message": message, **extra}]}
        case "transport_ws":
            assert answer["payload"] == [{"message": message, "extensions": extra}]
        case _:
            assert answer["payload"] == {"message": message}
    assert harness.metrics.refusals["Unauthorized"] == 1
    assert harness.metrics.groups == 0


async def test_errors_that_it_adds_refuse_too(harness: Harness, resolver: ScriptedResolver) -> None:
    resolver.script = lambda _: Resolved({"id": 1}, errors=(ResolverFault("not so", error_type="Mine"),))
    async with harness.connect() as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
        assert answer["payload"]["errors"] == [{"errorType": "Mine", "message": "not so"}]
        resolver.script = by_room
        await client.subscribe("s", IN_ROOM, {"room": "1"})


async def test_a_filter_that_is_none_is_told_as_in_appsync_and_to_the_owner(
    harness: Harness, resolver: ScriptedResolver, caplog: pytest.LogCaptureFixture
) -> None:
    resolver.script = lambda _: Resolved(
        None, filter={"filterGroup": [{"filters": [{"fieldName": "a", "operator": "in", "value": [1] * 6}]}]}
    )
    async with harness.connect() as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
        [error] = answer["payload"]["errors"]
        assert error["message"] == "subscription exceeds maximum value limit 5 for operator `in`."
        told = f"Subscription.onCreateMessage: a filter that its resolver has set is not acceptable: {error['message']}"
        assert told in caplog.messages


async def test_what_it_has_set_outlives_a_reload_that_leaves_it_as_it_was(
    harness: Harness, resolver: ScriptedResolver
) -> None:
    same = ScriptedResolver(by_room)
    async with harness.connect() as client:
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        ended = await harness.change_api(serve_anew(harness, same))
        assert (ended.connections, ended.subscriptions) == (0, 0)
        assert same.invocations == []
        harness.deliver({"id": "empty", "roomId": "1", "content": ""}, {"id": "1", "roomId": "1", "content": "c"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"] == {"id": "1"}


@pytest.mark.parametrize("change", ["other", "gone", "new"])
async def test_who_was_resolved_otherwise_subscribes_anew(
    harness: Harness, resolver: ScriptedResolver, change: str
) -> None:
    if change == "new":
        harness.api.become(serve_anew(harness))
    async with harness.connect() as client:
        await client.subscribe("s", IN_ROOM, {"room": "1"})
        follower = [ScriptedResolver(by_room, "2")] if change != "gone" else []
        ended = await harness.change_api(serve_anew(harness, *follower))
        assert (ended.connections, ended.subscriptions) == (1, 1)
        await expect_close(client, CloseReason.API_CHANGED)


async def test_what_it_wants_them_to_be_ended_by_ends_them(harness: Harness, resolver: ScriptedResolver) -> None:
    def by_key(invocation: Invocation) -> Resolved:
        key = invocation.caller.headers["x-api-key"]
        return Resolved(None, filter=equal_to(roomId="1"), invalidation_filter=equal_to(key=key))

    resolver.script = by_key
    async with harness.connect() as one, harness.connect(key=OTHER_KEY) as two:
        await one.subscribe("s", IN_ROOM, {"room": "x"})
        await two.start("s", IN_ROOM, {"room": "x"}, key=OTHER_KEY)
        assert harness.metrics.groups == 1
        assert len(harness.subscriptions.own_plans) == 1
        assert harness.api.planner.invalidation_fields == {"onCreateMessage"}
        ended = harness.oversight.invalidate("onCreateMessage", {"key": API_KEY})
        assert (ended.connections, ended.subscriptions) == (1, 1)
        assert (await one.receive())["type"] == "error"
        await expect_close(one, CloseReason.INVALIDATED)
        harness.deliver({"id": "1", "roomId": "1"})
        await two.receive_data()


async def test_who_gives_a_position_gets_what_came_after_it_and_fits_the_filter(
    harness: Harness, resolver: ScriptedResolver
) -> None:
    async with harness.connect() as client:
        for number in range(20):
            harness.deliver({"id": str(number), "roomId": "1", "content": "c" * (number % 2)})
        fanout = {"after": "at-10", "overflow": {"policy": "latest"}}
        assert (await client.start("s", IN_ROOM, {"room": "1"}, fanout=fanout))["type"] == "start_ack"
        harness.deliver({"id": "live", "roomId": "1", "content": "c"}, {"id": "no", "roomId": "1", "content": ""})
        received = [(await client.receive_data())[1]["data"]["onCreateMessage"]["id"] for _ in range(6)]
        assert received == ["11", "13", "15", "17", "19", "live"]


async def test_renewed_credentials_keep_what_was_resolved(harness: Harness, resolver: ScriptedResolver) -> None:
    harness.decide = lambda call: Identity(AuthMode.OIDC, {}, "ada", float(call.headers["authorization"]))
    async with open_other(harness, "transport_ws", "9e9") as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.subscriptions == 1)
        await client.send({"type": "connection_init", "payload": {"Authorization": "9.5e9"}})
        harness.deliver({"id": "empty", "roomId": "1", "content": ""}, {"id": "1", "roomId": "1", "content": "c"})
        assert (await client.receive("s"))["payload"]["data"] == {"onCreateMessage": {"id": "1"}}
        assert len(resolver.invocations) == 1
