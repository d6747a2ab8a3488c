"""Refusals of WebSocket clients are held back; nobody else is, and who leaves leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from fanout.auth import Decision, Refusals
from fanout.auth.refusals import PATIENCE
from fanout.errors import Unauthorized, Unavailable
from fanout.gateway.addresses import AddressReader
from fanout.gateway.patience import hold_refusals
from fanout.model import AuthMode, Call, CallKind, Identity
from tests.fanout.gateway.conftest import Harness
from tests.served import API_KEY, wait_until_async

SOMEBODY = Identity(AuthMode.OIDC, {}, "ada")
LONG_MS = 1_000_000


def call(*addresses: str, token: str = "") -> Call:
    return Call(CallKind.CONNECT, {"authorization": token}, addresses=addresses or ("192.0.2.1",))


def at_once(asked: Call) -> Identity:
    match asked.headers["authorization"]:
        case "good":
            return SOMEBODY
        case "down":
            raise Unavailable("x")
    raise Unauthorized


async def later(asked: Call) -> Identity:
    await asyncio.sleep(0)
    return at_once(asked)


async def decide(authorize: Callable[[Call], Decision], asked: Call) -> Identity:
    decision = authorize(asked)
    return await decision if isinstance(decision, Awaitable) else decision


@pytest.mark.parametrize("inner", [at_once, later])
async def test_a_refusal_is_told_when_its_time_has_come(inner: Any) -> None:
    refusals = Refusals(30, 30)
    authorize = hold_refusals(inner, refusals, AddressReader(()))
    asked_at = refusals.now()
    deciding = asyncio.ensure_future(decide(authorize, call()))
    with pytest.raises(Unauthorized):
        await deciding
    assert refusals.now() >= asked_at + 0.03  # never earlier; how much later is the machine's affair
    assert refusals.held == 0


@pytest.mark.parametrize("inner", [at_once, later])
async def test_nobody_else_waits_not_even_where_others_fail(inner: Any) -> None:
    refusals = Refusals(LONG_MS, LONG_MS)
    authorize = hold_refusals(inner, refusals, AddressReader(()))
    held = [asyncio.ensure_future(decide(authorize, call())) for _ in range(PATIENCE * 2)]
    await wait_until_async(lambda: refusals.held == len(held))
    assert await decide(authorize, call(token="good")) is SOMEBODY
    with pytest.raises(Unavailable):
        await decide(authorize, call(token="down"))
    for each in held:
        each.cancel()
    await wait_until_async(lambda: refusals.held == 0)


@pytest.mark.parametrize("inner", [at_once, later])
async def test_what_is_not_wanted_any_more_is_gone(inner: Any, caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals(LONG_MS, LONG_MS)
    authorize = hold_refusals(inner, refusals, AddressReader(()))
    for has_failed in (False, True):
        deciding = asyncio.ensure_future(decide(authorize, call()))
        if has_failed:
            await wait_until_async(lambda: refusals.held)
        deciding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deciding
        await wait_until_async(lambda: refusals.held == 0)
    gc.collect()
    await asyncio.sleep(0)
    assert caplog.text == ""


async def test_failures_count_for_the_client_behind_trusted_proxies() -> None:
    refusals = Refusals(LONG_MS, LONG_MS)
    authorize = hold_refusals(at_once, refusals, AddressReader(["10.0.0.0/8"]))
    for number in range(5):
        asyncio.ensure_future(decide(authorize, call(f"198.51.100.{number}", "203.0.113.7", "10.0.0.1"))).cancel()
        decision = authorize(call(f"198.51.100.{number}", "203.0.113.7", "10.0.0.1"))
        assert isinstance(decision, asyncio.Future)
        decision.cancel()
    assert list(refusals._failures) == ["203.0.113.7"]


async def test_connections_and_subscriptions_wait_and_leave_nothing(harness: Harness) -> None:
    refusals = Refusals(LONG_MS, LONG_MS)
    harness.decide = hold_refusals(harness.authorizer.authorize_client, refusals, AddressReader(()))
    async with harness.connect() as good, harness.open(key="da2-wrong") as bad:
        await bad.send({"type": "connection_init"})
        await wait_until_async(lambda: refusals.held == 1)
        for id in ("stops", "stays"):
            await good.send_start(id, "subscription { onCreateMessage { id } }", key="da2-wrong")
        await wait_until_async(lambda: refusals.held == 3)
        await good.send({"type": "stop", "id": "stops"})
        assert (await good.receive())["type"] == "complete"
        assert refusals.held == 2
        await good.subscribe("right", "subscription { onCreateMessage { id } }")
    await wait_until_async(lambda: refusals.held == 0)
    await wait_until_async(lambda: not harness.server.server_state.connections)


async def test_a_client_cannot_say_where_it_is_but_by_its_proxy(harness: Harness) -> None:
    seen: list[tuple[str, ...]] = []

    def note(asked: Call) -> Decision:
        seen.append(asked.addresses)
        return harness.authorizer.authorize_client(asked)

    harness.decide = note
    lie = {"X-Forwarded-For": "203.0.113.99", "x-api-key": API_KEY, "host": "localhost"}
    async with harness.open(
        path="/graphql/realtime?x-forwarded-for=203.0.113.98", additional_headers={"X-Forwarded-For": "198.51.100.1"}
    ) as client:
        await client.send({"type": "connection_init", "payload": {"headers": lie, **lie}})
        await client.receive()
        data = json.dumps({"query": "subscription { onCreateMessage { id } }"})
        await client.send({"type": "start", "id": "s", "payload": {"data": data, "extensions": {"authorization": lie}}})
        await client.receive()
    assert seen == [("198.51.100.1", "127.0.0.1")] * 2


@pytest.mark.parametrize("inner", [at_once, later])
async def test_credentials_of_somebody_else_renew_nothing_and_are_told_as_late(inner: Any) -> None:
    refusals = Refusals(LONG_MS, LONG_MS)
    authorize = hold_refusals(inner, refusals, AddressReader(()))
    asked = Call(CallKind.CONNECT, {"authorization": "good"}, addresses=("192.0.2.1",))
    assert await decide(authorize, replace(asked, renews=SOMEBODY)) == SOMEBODY
    other = asyncio.ensure_future(decide(authorize, replace(asked, renews=Identity(AuthMode.OIDC, {}, "bob"))))
    await wait_until_async(lambda: refusals.held == 1)
    other.cancel()


async def test_decisions_are_made_by_addresses_that_can_be_believed() -> None:
    seen: list[tuple[str, ...]] = []

    def note(asked: Call) -> Identity:
        seen.append(asked.addresses)
        return SOMEBODY

    for trusted in ((), ("10.0.0.0/8",)):
        hold_refusals(note, Refusals(0, 1), AddressReader(trusted))(call("203.0.113.7", "10.0.0.1"))
    assert seen == [("10.0.0.1",), ("203.0.113.7", "10.0.0.1")]
