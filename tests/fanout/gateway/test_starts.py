"""Wishes that wait for the resolver of their field. Those that wait for who asks: test_gateway_authorization.py."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fanout.api import Api
from fanout.errors import Unavailable
from fanout.model import AuthMode, Call, CloseReason, Identity, SubscribeRequest
from fanout.protocol import Subscribe
from fanout.schema import Invocation, Resolved, load_chat_schema
from fanout.settings import SubscriptionSettings
from tests.fanout.gateway.conftest import FIELD, IN_ROOM, OTHER_KEY, Harness, expect_close, open_other, serve_anew
from tests.scripted_resolver import ScriptedResolver, by_room, equal_to
from tests.served import API_KEY, wait_until_async


async def test_nobody_is_subscribed_before_it_has_run(harness: Harness, resolver: ScriptedResolver) -> None:
    resolver.may_end.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: resolver.invocations)
        assert (harness.metrics.groups, harness.directory.registered) == (0, [])
        resolver.may_end.set()
        assert await client.receive() == {"type": "start_ack", "id": "s"}


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
    assert not harness.subscriptions.invalidations._resolving


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


async def test_what_fails_by_a_former_api_is_resolved_anew(harness: Harness, resolver: ScriptedResolver) -> None:
    def fail(_: Invocation) -> Resolved:
        raise Unavailable("the processes have ended")

    resolver.script = fail
    resolver.may_end.clear()
    later = ScriptedResolver(by_room, "2")
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: resolver.invocations)
        await harness.change_api(serve_anew(harness, later))
        resolver.may_end.set()
        assert await client.receive() == {"type": "start_ack", "id": "s"}


async def test_who_is_put_out_while_it_is_resolved_is_not_let_in(harness: Harness, resolver: ScriptedResolver) -> None:
    resolver.script = lambda invocation: Resolved(None, invalidation_filter=equal_to(**invocation.arguments))
    invalidate = harness.oversight.invalidate
    async with harness.connect() as put_out, harness.connect() as client:
        resolver.may_end.clear()
        invalidate("onCreateMessage", {"roomId": "2"})  # before any began
        await put_out.send_start("1", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: len(resolver.invocations) == 1)
        invalidate("onUpdateMessage", {"roomId": "2"})
        invalidate("onCreateMessage", {"roomId": "1"})
        await client.send_start("late", IN_ROOM, {"room": "1"})
        await client.send_start("2", IN_ROOM, {"room": "2"})
        await wait_until_async(lambda: len(resolver.invocations) == 3)
        resolver.may_end.set()
        answer = await put_out.receive()
        assert answer["payload"]["errors"] == [
            {"errorType": "SubscriptionInvalidated", "message": "Subscription complete."}
        ]
        await expect_close(put_out, CloseReason.INVALIDATED)
        assert {(await client.receive())["type"] for _ in "12"} == {"start_ack"}
        assert not harness.subscriptions.invalidations._recent
        assert not harness.subscriptions.invalidations._resolving
        assert harness.metrics.subscriptions == 2
        assert harness.metrics.subscriptions_ended[CloseReason.INVALIDATED.label] == 1


@pytest.mark.parametrize("is_guest", [True, False])
async def test_whose_identity_is_closed_while_it_is_resolved_is_not_let_in(
    harness: Harness, resolver: ScriptedResolver, *, is_guest: bool
) -> None:
    resolver.may_end.clear()
    async with harness.connect() as client:
        await client.send_start("s", IN_ROOM, {"room": "1"}, key=OTHER_KEY if is_guest else API_KEY)
        await wait_until_async(lambda: resolver.invocations)
        subject = resolver.invocations[0].caller.identity.subject
        ended = harness.oversight.close_identity(subject)
        assert (ended.connections, ended.subscriptions) == (int(not is_guest), 1)
        if is_guest:
            assert (await client.receive())["payload"]["errors"][0]["errorType"] == "SubscriptionEnded"
            # The id is free again.
            resolver.may_end.set()
            assert await client.start("s", IN_ROOM, {"room": "1"}) == {"type": "start_ack", "id": "s"}
        else:
            await expect_close(client, CloseReason.CLOSED_BY_OPERATOR)
        await wait_until_async(lambda: resolver.given_up == 1)
        assert not harness.subscriptions.guests
        assert not harness.subscriptions.invalidations._resolving


@pytest.mark.parametrize("is_same", [True, False])
async def test_credentials_that_are_renewed_while_it_is_resolved_are_the_subscriptions_too(
    harness: Harness, resolver: ScriptedResolver, is_same: bool
) -> None:
    template = {"onCreateMessage": SubscriptionSettings(filter={"author": {"eq": "$identity.sub"}})}
    settings = harness.settings.model_copy(update={"subscriptions": template})
    harness.api.become(Api(load_chat_schema(), settings, resolvers={FIELD: resolver}))
    named = "ada"

    def decide(call: Call) -> Identity:
        return Identity(AuthMode.OIDC, {"sub": named}, "ada", float(call.headers["authorization"]))

    harness.decide = decide
    resolver.may_end.clear()
    async with open_other(harness, "transport_ws", "9e9") as client:
        await client.send_start("s", IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: resolver.invocations)
        if not is_same:
            named = "Ada"
        await client.send({"type": "connection_init", "payload": {"Authorization": "9.5e9"}})
        await wait_until_async(
            lambda: [each.identity and each.identity.expires_at for each in harness.gateway.connections] == [9.5e9]
        )
        resolver.may_end.set()
        if is_same:
            await wait_until_async(lambda: harness.metrics.subscriptions == 1)
            assert not harness.subscriptions.guests
        else:
            assert (await client.receive("s"))["type"] == "error"
        assert len(resolver.invocations) == 1


async def test_thousands_at_once_are_one_group_and_the_rest_is_told_to_come_again(build_harness: Any) -> None:
    """All of 40 connections come again with 250 subscriptions each, and there is room for 9,000 waiting calls."""
    harness = await build_harness(max_subscriptions_per_connection=250)
    places, waiting = 9_000, 0

    class Bounded(ScriptedResolver):
        async def resolve(self, invocation: Invocation) -> Resolved:
            nonlocal waiting
            if waiting == places:
                raise Unavailable("too many calls wait")
            waiting += 1
            return await super().resolve(invocation)

    resolver = Bounded(by_room)
    harness.api.become(serve_anew(harness, resolver))
    resolver.may_end.clear()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(harness.connect()) for _ in range(40)]
        before = len(asyncio.all_tasks())
        for client in clients:
            for number in range(250):
                await client.send_start(str(number), IN_ROOM, {"room": "1"})
        await wait_until_async(lambda: harness.metrics.refusals["ServiceUnavailableException"] == 1_000)
        resolver.may_end.set()
        answers = Counter([(await client.receive())["type"] for client in clients for _ in range(250)])
        assert answers == {"start_ack": places, "error": 1_000}
        assert harness.metrics.subscriptions == places
        assert harness.metrics.groups == 1
        assert len(harness.directory.registered) == 1
        assert harness.subscriptions.own_plans == {}
        assert len(asyncio.all_tasks()) == before
        assert not harness.subscriptions.invalidations._resolving


async def test_a_resolver_may_take_as_long_as_a_request(build_harness: Any) -> None:
    harness = await build_harness(request_execution_timeout_ms=1)
    resolver = ScriptedResolver(by_room)
    harness.api.become(serve_anew(harness, resolver))
    resolver.may_end.clear()
    async with harness.connect() as client:
        answer = await client.start("s", IN_ROOM, {"room": "1"})
        assert answer["payload"]["errors"] == [
            {"errorType": "ExecutionTimeout", "errorCode": 504, "message": "Execution timed out."}
        ]
        assert resolver.given_up == 1


async def test_one_that_is_stopped_before_its_resolver_has_begun_leaves_nothing_behind(
    harness: Harness, resolver: ScriptedResolver
) -> None:
    async with harness.connect():
        (connection,) = harness.gateway.connections
        request = SubscribeRequest(IN_ROOM, None, {"room": "1"}, {"x-api-key": API_KEY})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            harness.subscriptions.start(connection, Subscribe("s", b'"s"', request, 1))
            harness.subscriptions.end(connection, "s")
            await asyncio.sleep(0)
            gc.collect()
        assert [str(each.message) for each in caught] == []
        assert resolver.invocations == []
