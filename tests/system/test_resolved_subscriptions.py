"""Subscriptions that resolvers filter and end, with real files, processes and mutations, over two gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.listener import accepting, find_port, listen_on_loopback
from tests.served import AppSyncClient, Served, connect_appsync, serve, wait_until_async
from tests.valkey import Valkey, run_valkey

ADA, BOB, ADMIN = "da2-ada", "da2-bob", "da2-operator"
IN_ROOM = "subscription On($room: ID!) { onCreateMessage(roomId: $room) { id content } }"
SDL = """
type Message { id: ID! roomId: ID content: String }
type Query { version: String }
type Mutation { createMessage(roomId: ID!, content: String!): Message  removeMember(roomId: ID!, user: ID!): Boolean }
type Subscription { onCreateMessage(roomId: ID!): Message @aws_subscribe(mutations: ["createMessage"]) }
"""
FILE = f"""
schema = "api.graphql"
resolvers = "resolvers"
api_key = ["{ADA}", "{BOB}"]
admin_key = ["{ADMIN}"]
heartbeat_interval_ms = 300
heartbeat_timeout_ms = 1500
"""
SUBSCRIPTION = """
import { util, extensions } from '@aws-appsync/utils';

export function request(ctx) {
  return { payload: null };
}

export function response(ctx) {
  const { roomId } = ctx.args;
  const user = ctx.request.headers['x-api-key'];
  if (roomId === 'closed') {
    util.unauthorized();
  }
  if (roomId === 'broken') {
    util.error('There is no such room', 'NotFound', { id: '1', roomId, content: 'c' }, { roomId });
  }
  const filter = { roomId: { eq: roomId }, content: { ne: '' } };
  extensions.setSubscriptionFilter(util.transform.toSubscriptionFilter(filter));
  const ending = { roomId: { eq: roomId }, user: { eq: user } };
  extensions.setSubscriptionInvalidationFilter(util.transform.toSubscriptionFilter(ending));
  return null;
}
"""
CREATE = """
import { util } from '@aws-appsync/utils';

export function request(ctx) {
  return { payload: { id: util.autoId(), roomId: ctx.args.roomId, content: ctx.args.content.trim() } };
}

export function response(ctx) {
  return ctx.result;
}
"""
REMOVE = """
import { extensions } from '@aws-appsync/utils';

export function request(ctx) {
  return { payload: true };
}

export function response(ctx) {
  const { roomId, user } = ctx.args;
  extensions.invalidateSubscriptions({ subscriptionField: 'onCreateMessage', payload: { roomId, user } });
  return ctx.result;
}
"""

ASKING = """
import { util, extensions } from '@aws-appsync/utils';

export function request(ctx) {
  return {
    method: 'GET',
    resourcePath: `/members/${ctx.args.roomId}`,
    params: { query: { user: ctx.request.headers['x-api-key'] } },
  };
}

export function response(ctx) {
  const { roomId } = ctx.args;
  if (ctx.error || ctx.result.statusCode !== 200) {
    util.unauthorized();
  }
  const ending = { roomId: { eq: roomId }, user: { eq: ctx.request.headers['x-api-key'] } };
  extensions.setSubscriptionInvalidationFilter(util.transform.toSubscriptionFilter(ending));
  return null;
}
"""


class Members:
    """Who is in which room, over HTTP: everybody in all but `closed`; a test can hold answers back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request_line := (await reader.readline()).decode():
            while (await reader.readline()).strip():
                pass
            path = request_line.split(" ")[1]
            self.asked.append(path)
            await self.may_answer.wait()
            status = "404 Not Found" if path.startswith("/members/closed?") else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            await writer.drain()


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "api.graphql").write_text(SDL)
    (tmp_path / "fanout.toml").write_text(FILE)
    resolvers = tmp_path / "resolvers"
    resolvers.mkdir()
    (resolvers / "Subscription.onCreateMessage.js").write_text(SUBSCRIPTION)
    (resolvers / "Mutation.createMessage.js").write_text(CREATE)
    (resolvers / "Mutation.removeMember.js").write_text(REMOVE)
    return tmp_path


@pytest.fixture
def gateways(valkey: Valkey, directory: Path) -> Iterator[list[Served]]:
    arguments: Any = ("--config", "fanout.toml", "--redis-url", valkey.url)
    with (
        serve(*arguments, keys=False, directory=directory) as one,
        serve(*arguments, keys=False, directory=directory) as two,
    ):
        yield [one, two]


def mutate(served: Served, document: str) -> dict[str, Any]:
    answer = httpx.post(
        f"{served.url}/graphql", headers={"x-api-key": ADA}, json={"query": f"mutation {{ {document} }}"}, timeout=30
    )
    return dict(answer.json())


def reload(served: Served) -> dict[str, Any]:
    answer = httpx.post(f"{served.url}/admin/reload", headers={"x-api-key": ADMIN}, json={"all": True}, timeout=60)
    return dict(answer.json())


async def start(client: AppSyncClient, id: str, room: str, key: str, **options: Any) -> None:
    answer = await client.start(id, IN_ROOM, {"room": room}, key=key, **options)
    assert (answer["type"], answer["id"]) == ("start_ack", id), answer


async def receive_content(client: AppSyncClient) -> str:
    _, payload = await client.receive_data()
    return str(payload["data"]["onCreateMessage"]["content"])


async def expect_invalidated(client: AppSyncClient, id: str) -> None:
    told = await client.receive()
    assert (told["type"], told["id"]) == ("error", id)
    assert told["payload"]["errors"][0]["message"] == "Subscription complete."
    await asyncio.wait_for(client.connection.wait_closed(), 20)
    assert client.connection.close_code == 4621


async def test_subscribers_get_what_the_resolvers_filter_lets_through(gateways: list[Served]) -> None:
    one, two = gateways
    async with connect_appsync(one.url, ADA) as ada, connect_appsync(two.url, BOB) as bob:
        await start(ada, "s", "1", ADA)
        await start(bob, "s", "1", BOB)
        await start(bob, "t", "2", BOB)
        for room, content in (("1", " "), ("3", "x"), ("1", "  first "), ("2", "other")):
            answer = await asyncio.to_thread(
                mutate, one, f'createMessage(roomId: "{room}", content: "{content}") {{ id roomId content }}'
            )
            assert "errors" not in answer
        assert await receive_content(ada) == "first"
        assert sorted([await receive_content(bob), await receive_content(bob)]) == ["first", "other"]
        answer = await ada.start("no", IN_ROOM, {"room": "closed"}, key=ADA)
        assert answer["payload"]["errors"] == [
            {"errorType": "Unauthorized", "message": "Not Authorized to access onCreateMessage on type Subscription"}
        ]
        answer = await ada.start("no", IN_ROOM, {"room": "broken"}, key=ADA)
        assert answer["payload"]["errors"] == [
            {
                "errorType": "NotFound",
                "message": "There is no such room",
                "data": {"id": "1", "content": "c"},
                "errorInfo": {"roomId": "broken"},
            }
        ]


async def test_a_mutation_ends_the_subscriptions_that_it_names_on_both_gateways(gateways: list[Served]) -> None:
    one, two = gateways
    async with (
        connect_appsync(one.url, ADA) as here,
        connect_appsync(two.url, ADA) as there,
        connect_appsync(two.url, ADA) as elsewhere,
        connect_appsync(two.url, BOB) as bob,
    ):
        await start(here, "a", "1", ADA)
        await start(there, "b", "1", ADA)
        await start(elsewhere, "c", "2", ADA)
        await start(bob, "d", "1", BOB)
        answer = await asyncio.to_thread(mutate, one, f'removeMember(roomId: "1", user: "{ADA}")')
        assert answer == {"data": {"removeMember": True}}
        await expect_invalidated(here, "a")
        await expect_invalidated(there, "b")
        await asyncio.to_thread(mutate, two, 'createMessage(roomId: "1", content: "x") { id roomId content }')
        await asyncio.to_thread(mutate, two, 'createMessage(roomId: "2", content: "y") { id roomId content }')
        assert await receive_content(bob) == "x"
        assert await receive_content(elsewhere) == "y"


async def test_an_operator_ends_them_too(gateways: list[Served]) -> None:
    one, two = gateways
    async with connect_appsync(two.url, BOB) as bob:
        await start(bob, "d", "1", BOB)
        answer = await asyncio.to_thread(
            httpx.post,
            f"{one.url}/admin/subscriptions/invalidate",
            headers={"x-api-key": ADMIN},
            json={"field": "onCreateMessage", "payload": {"roomId": "1", "user": BOB}},
        )
        assert answer.status_code == 200, answer.text
        await expect_invalidated(bob, "d")


async def test_equal_filters_are_one_group_whoever_they_are_of(valkey: Valkey, gateways: list[Served]) -> None:
    one, _ = gateways
    async with connect_appsync(one.url, ADA) as ada, connect_appsync(one.url, BOB) as bob:
        for number in range(50):
            await start(ada, str(number), "1", ADA)
            await start(bob, str(number), "1", BOB)
        assert one.read_metric("fanout_subscriptions") == 100
        assert one.read_metric("fanout_groups") == 1
        valkey.add("createMessage", {"id": "1", "roomId": "1", "content": ""})
        valkey.add("createMessage", {"id": "2", "roomId": "1", "content": "c"})
        for client in (ada, bob):
            assert [await receive_content(client) for _ in range(50)] == ["c"] * 50


async def test_a_reload_keeps_what_an_unchanged_resolver_has_set(
    valkey: Valkey, gateways: list[Served], directory: Path
) -> None:
    one, two = gateways
    file = directory / "resolvers" / "Subscription.onCreateMessage.js"
    async with connect_appsync(one.url, ADA) as ada, connect_appsync(two.url, BOB) as bob:
        await start(ada, "s", "1", ADA)
        await start(bob, "s", "1", BOB)
        mutation = directory / "resolvers" / "Mutation.createMessage.js"
        mutation.write_text(CREATE.replace(".trim()", ".trim().toUpperCase()"))
        (directory / "api.graphql").write_text(SDL.replace("content: String }", "content: String note: String }"))
        assert "errors" not in await asyncio.to_thread(reload, one)
        await asyncio.to_thread(mutate, two, 'createMessage(roomId: "1", content: " ") { id roomId content }')
        await asyncio.to_thread(mutate, two, 'createMessage(roomId: "1", content: "x") { id roomId content }')
        assert await receive_content(ada) == "X"
        assert await receive_content(bob) == "X"

        file.write_text(SUBSCRIPTION.replace("content: { ne: '' }", "content: { beginsWith: 'A' }"))
        assert "errors" not in await asyncio.to_thread(reload, one)
        for client in (ada, bob):
            await asyncio.wait_for(client.connection.wait_closed(), 20)
            assert client.connection.close_code == 4622
    async with connect_appsync(one.url, ADA) as ada:
        await start(ada, "s", "1", ADA)
        for number, content in enumerate(("B", "A")):
            valkey.add("createMessage", {"id": str(number), "roomId": "1", "content": content})
        assert await receive_content(ada) == "A"
        file.write_text("export function request(ctx) {")
        report = await asyncio.to_thread(reload, one)
        assert "Subscription.onCreateMessage.js" in str(report["errors"])
        valkey.add("createMessage", {"id": "9", "roomId": "1", "content": "A still"})
        assert await receive_content(ada) == "A still"


async def test_who_comes_back_resumes_behind_the_filter(valkey: Valkey, gateways: list[Served]) -> None:
    one, two = gateways
    async with connect_appsync(one.url, ADA) as ada:
        answer = await ada.start("s", IN_ROOM, {"room": "1"}, key=ADA, fanout={})
        position = answer["payload"]["extensions"]["fanout"]["position"]
    for number, (room, content) in enumerate((("1", "a"), ("1", ""), ("2", "b"), ("1", "c"))):
        valkey.add("createMessage", {"id": str(number), "roomId": room, "content": content})
    async with connect_appsync(two.url, ADA) as ada:
        fanout = {"after": position, "overflow": {"policy": "drop-oldest"}}
        await start(ada, "s", "1", ADA, fanout=fanout)
        assert [await receive_content(ada) for _ in range(2)] == ["a", "c"]
        await wait_until_async(lambda: two.read_metric("fanout_subscriptions") == 1)
        valkey.add("createMessage", {"id": "9", "roomId": "1", "content": "live"})
        assert await receive_content(ada) == "live"


async def test_who_is_put_out_while_a_data_source_is_asked_is_not_let_in(valkey: Valkey, directory: Path) -> None:
    members = Members()
    (directory / "resolvers" / "Subscription.onCreateMessage.js").write_text(ASKING)
    arguments: Any = ("--config", "fanout.toml", "--redis-url", valkey.url)
    listening = listen_on_loopback()
    async with accepting(listening, members.converse):
        endpoint = f"http://127.0.0.1:{find_port(listening)}"
        source = f'[data_source.members]\ntype = "HTTP"\nendpoint = "{endpoint}"\n'
        resolver = '[resolver."Subscription.onCreateMessage"]\ndata_source = "members"\n'
        (directory / "fanout.toml").write_text(FILE + source + resolver)
        with (
            serve(*arguments, keys=False, directory=directory) as one,
            serve(*arguments, keys=False, directory=directory) as two,
        ):
            async with connect_appsync(one.url, ADA) as ada, connect_appsync(one.url, BOB) as bob:
                answer = await ada.start("no", IN_ROOM, {"room": "closed"}, key=ADA)
                assert answer["payload"]["errors"][0]["errorType"] == "Unauthorized"
                members.may_answer.clear()
                await ada.send_start("a", IN_ROOM, {"room": "1"}, key=ADA)
                await bob.send_start("b", IN_ROOM, {"room": "1"}, key=BOB)
                await wait_until_async(lambda: len(members.asked) == 3)
                answer = await asyncio.to_thread(mutate, two, f'removeMember(roomId: "1", user: "{ADA}")')
                assert answer == {"data": {"removeMember": True}}
                members.may_answer.set()
                told = await ada.receive()
                assert (told["type"], told["id"]) == ("error", "a")
                assert told["payload"]["errors"][0]["errorType"] == "SubscriptionInvalidated"
                assert await bob.receive() == {"type": "start_ack", "id": "b"}
                valkey.add("createMessage", {"id": "1", "roomId": "1", "content": "c"})
                assert await receive_content(bob) == "c"
