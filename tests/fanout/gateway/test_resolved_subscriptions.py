"""Subscriptions on a field with a resolver: run once for each, before anything is registered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect

from fanout.errors import Unavailable
from fanout.model import CloseReason
from fanout.schema import Api, Invocation, Resolved, ResolverFault, load_chat_schema
from tests.fanout.gateway.conftest import OTHER_KEY, Harness, expect_close
from tests.scripted_resolver import ScriptedResolver, by_room, equal_to
from tests.served import API_KEY, wait_until_async

IN_ROOM = "subscription On($room: ID) { onCreateMessage(roomId: $room) { id } }"
FIELD = ("Subscription", "onCreateMessage")


@pytest.fixture
async def resolver(harness: Harness) -> ScriptedResolver:
    resolver = ScriptedResolver(by_room)
    harness.api.become(Api(load_chat_schema(), harness.settings, resolvers={FIELD: resolver}))
    return resolver


def serve_anew(harness: Harness, *resolvers: ScriptedResolver) -> Api:
    return Api(load_chat_schema(), harness.settings, resolvers=dict.fromkeys([FIELD], *resolvers) if resolvers else {})


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


async def test_nobody_is_subscribed_before_it_has_run(harness: Harness, resolver: ScriptedResolver) -> None:
    resolver.may_end.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: resolver.invocations)
        assert (harness.metrics.groups, harness.directory.registered) == (0, [])
        resolver.may_end.set()
        assert await client.receive() == {"type": "start_ack", "id": "s"}


async def test_it_runs_for_each_and_equal_filters_are_one_group(harness: Harness, resolver: ScriptedResolver) -> None:
    count = 300
    tasks = len(asyncio.all_tasks())
    async with harness.connect() as one, harness.connect(key=OTHER_KEY) as two:
        connecting = len(asyncio.all_tasks())
        for number in range(count):
            await (one, two)[number % 2].send_start(f"s{number}", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.subscriptions == count)
        assert len(resolver.invocations) == count
        assert harness.metrics.groups == 1
        assert len(harness.directory.registered) == 1
        assert harness.subscriptions.own_plans == {}
        assert len(asyncio.all_tasks()) == connecting >= tasks


class OtherClient:
    """A client of another dialect than AppSync's."""

    def __init__(self, socket: ClientConnection, start: str) -> None:
        self._socket = socket
        self._start = start

    async def send(self, message: dict[str, Any]) -> None:
        await self._socket.send(orjson.dumps(message).decode())

    async def start(self, id: str, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        await self.send({"id": id, "type": self._start, "payload": {"query": query, "variables": variables}})
        answer: dict[str, Any] = {}
        while answer.get("id") != id:
            answer = orjson.loads(await asyncio.wait_for(self._socket.recv(), 20))
        return answer


@asynccontextmanager
async def open_other(harness: Harness, dialect: str) -> AsyncIterator[OtherClient]:
    name, start = ("graphql-transport-ws", "subscribe") if dialect == "transport_ws" else ("graphql-ws", "start")
    url = harness.url.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=[name]) as socket:  # type: ignore[list-item]
        client = OtherClient(socket, start)
        await client.send({"type": "connection_init", "payload": {"x-api-key": API_KEY}})
        assert orjson.loads(await socket.recv())["type"] == "connection_ack"
        yield client


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


async def test_a_filter_that_is_none_is_told_as_in_appsync(harness: Harness, resolver: ScriptedResolver) -> None:
    resolver.script = lambda _: Resolved(
        None, filter={"filterGroup": [{"filters": [{"fieldName": "a", "operator": "in", "value": [1] * 6}]}]}
    )
    async with harness.connect() as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
        [error] = answer["payload"]["errors"]
        assert error["message"] == "subscription exceeds maximum value limit 5 for operator `in`."


async def test_too_many_at_once_are_told_to_come_again(harness: Harness, resolver: ScriptedResolver) -> None:
    def refuse(_: Invocation) -> Resolved:
        raise Unavailable("too many calls wait")

    resolver.script = refuse
    async with harness.connect() as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
        [error] = answer["payload"]["errors"]
        assert (error["errorType"], error["errorCode"]) == ("ServiceUnavailableException", 503)


async def test_a_defect_costs_one_subscription(
    harness: Harness, resolver: ScriptedResolver, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Invocation) -> Resolved:
        raise ZeroDivisionError("secret")

    resolver.script = fail
    async with harness.connect() as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
        assert answer["payload"]["errors"][0]["errorCode"] == 500
        assert "secret" not in str(answer)
        assert "a resolver could not be run" in caplog.text


async def test_who_stops_or_leaves_meanwhile_gives_it_up(harness: Harness, resolver: ScriptedResolver) -> None:
    resolver.may_end.clear()
    async with harness.connect() as client:
        for id in ("stops", "leaves"):
            await client.send_start(id, IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: len(resolver.invocations) == 2)
        await client.send({"type": "stop", "id": "stops"})
        assert await client.receive() == {"type": "complete", "id": "stops"}
        await wait_until_async(lambda: resolver.given_up == 1)
        await client.send_start("stops", IN_ROOM, {"room": "2"})
        await wait_until_async(lambda: len(resolver.invocations) == 3)
    await wait_until_async(lambda: resolver.given_up == 3)
    assert (harness.metrics.groups, len(harness.gateway)) == (0, 0)


async def test_whose_credentials_do_not_hold_any_more_is_not_subscribed(
    harness: Harness, resolver: ScriptedResolver
) -> None:
    resolver.may_end.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: resolver.invocations)
        harness.holds = lambda identity: False
        resolver.may_end.set()
        assert (await client.receive())["payload"]["errors"][0]["errorType"] == "UnauthorizedException"
    assert harness.metrics.groups == 0


async def test_what_was_resolved_by_a_former_api_is_resolved_anew(harness: Harness, resolver: ScriptedResolver) -> None:
    later = ScriptedResolver(lambda _: Resolved(None, filter=equal_to(author="ada")), "2")
    resolver.may_end.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: resolver.invocations)
        await harness.change_api(serve_anew(harness, later))
        resolver.may_end.set()
        assert await client.receive() == {"type": "start_ack", "id": "s"}
        assert len(later.invocations) == 1
        harness.deliver({"id": "1", "roomId": "1", "content": "c"}, {"id": "2", "author": "ada"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"] == {"id": "2"}


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
