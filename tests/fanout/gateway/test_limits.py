"""Limits per address and identity, against a plain model of rates, and as clients see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from fanout.gateway import limits as module
from fanout.gateway.limits import Limits
from fanout.model import CloseReason, Identity
from fanout.settings import Settings
from tests.fanout.gateway.conftest import Harness
from tests.fanout.gateway.test_connection import expect_close
from tests.served import wait_until_async

ON_CREATE = "subscription { onCreateMessage { id } }"


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def test_nothing_is_kept_without_limits() -> None:
    limits = Limits(Settings(), Clock())
    assert not limits.is_active
    assert not limits.counts_messages
    assert not limits.counts_requests


def test_connections_are_counted_until_they_leave() -> None:
    limits = Limits(Settings(max_connections_per_address=2, max_connections_per_identity=3), Clock())
    assert limits.connect("a", "here") is None
    assert limits.connect("b", "here") is None
    excess = limits.connect("c", "here")
    assert excess is not None
    assert "max_connections_per_address = 2" in excess.message
    assert limits.connect("c", "there") is None
    for connection in "abc":
        assert limits.identify(connection, "key") is None
    excess = limits.identify("d", "key")
    assert excess is not None
    assert "max_connections_per_identity = 3" in excess.message
    limits.leave("a")
    limits.leave("a")
    assert limits.connect("e", "here") is None
    assert limits.connect("f", "here") is not None
    assert limits.identify("e", "key") is None


def test_requests_are_counted_apart_from_connections() -> None:
    settings = Settings(max_requests_per_second_per_address=1, max_requests_per_second_per_identity=2, rate_window_ms=1)
    clock = Clock()
    limits = Limits(settings, clock)
    assert limits.counts_requests
    assert limits.request_from("here") is None
    assert limits.request_by("key") is None
    assert limits.connect("a", "here") is None
    excess = limits.request_from("here")
    assert excess is not None
    assert "(max_requests_per_second_per_address = 1)" in excess.message
    assert excess.retry_after_seconds == 1
    assert limits.request_from("there") is None
    clock.now_ms += 500
    assert limits.request_by("key") is None
    assert limits.request_by("key") is not None
    assert Limits(Settings(max_connections_per_address=1), clock).request_from("here") is None


@given(
    rate=st.sampled_from([0.5, 1, 3, 100]),
    window_ms=st.sampled_from([100, 1000, 10_000]),
    pauses=st.lists(st.integers(0, 3000), max_size=60),
)
def test_a_rate_is_what_a_bucket_of_tokens_gives(rate: float, window_ms: int, pauses: list[int]) -> None:
    clock = Clock()
    settings = Settings(max_messages_per_second_per_address=rate, rate_window_ms=window_ms)
    limits = Limits(settings, clock)
    limits.connect("c", "here")
    capacity = max(1.0, rate * window_ms / 1000)
    tokens = capacity
    for pause in pauses:
        clock.now_ms += pause
        tokens = min(capacity, tokens + pause * rate / 1000)
        if abs(tokens - 1) < 1e-6:
            return  # a rounding decides
        excess = limits.receive("c")
        assert (excess is None) == (tokens >= 1)
        if excess is None:
            tokens -= 1
        else:
            assert abs(excess.wait_ms - (1 - tokens) / rate * 1000) <= 2  # whole milliseconds, rounded up


def test_subscriptions_count_for_the_identity_that_starts_them() -> None:
    limits = Limits(Settings(max_subscribes_per_second_per_identity=1, rate_window_ms=1000), Clock())
    assert limits.connect("c", "here") is None
    assert limits.identify("c", "one") is None
    assert limits.subscribe("c", "one") is None
    assert limits.subscribe("c", "one") is not None
    assert limits.subscribe("c", "other") is None


def test_the_tables_are_bounded_and_forget_those_who_owe_nothing_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PARTIES", 12)
    clock = Clock()
    limits = Limits(Settings(max_connects_per_second_per_address=1, rate_window_ms=1000), clock)
    parties = limits._addresses._parties
    limits.connect("stays", "resident")
    for number in range(100):
        clock.now_ms += 100
        limits.connect(number, f"address {number}")
        limits.leave(number)
        assert len(parties) <= 12
        assert "resident" in parties
    assert limits.connect("again", "address 99") is not None  # remembered
    assert limits.connect("again", "address 1") is None


def test_those_who_are_connected_are_not_forgotten_and_room_is_made_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PARTIES", 12)
    limits = Limits(Settings(max_connections_per_address=1), Clock())
    table = limits._addresses
    made = 0
    make_room = table._make_room

    def count_and_make_room(now_ms: int) -> None:
        nonlocal made
        made += 1
        make_room(now_ms)

    monkeypatch.setattr(table, "_make_room", count_and_make_room)
    for number in range(120):
        assert limits.connect(number, f"address {number}") is None
    assert len(table._parties) == 120
    assert made <= 120 // 3
    assert limits.connect("second", "address 0") is not None


async def test_too_many_connections_from_an_address(build_harness: Any) -> None:
    harness = await build_harness(max_connections_per_address=1)
    async with harness.connect():
        with pytest.raises(InvalidStatus) as caught:
            async with harness.open():
                pass
        response = caught.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (429, "1")
        assert b"max_connections_per_address = 1" in response.body
        assert harness.metrics.refusals["max-connections-per-address"] == 1
    await wait_until_async(lambda: len(harness.gateway) == 0)
    async with harness.connect():
        pass


async def test_behind_a_trusted_proxy_each_client_has_its_own_address(build_harness: Any) -> None:
    harness = await build_harness(max_connections_per_address=1, trusted_proxies=("127.0.0.0/8",))
    one = {"additional_headers": {"X-Forwarded-For": "198.51.100.1"}}
    other = {"additional_headers": {"X-Forwarded-For": "198.51.100.2"}}
    async with harness.connect(**one), harness.connect(**other):
        with pytest.raises(InvalidStatus):
            async with harness.open(**one):
                pass


async def test_too_many_connections_of_an_identity_are_told_to_come_again(build_harness: Any) -> None:
    harness = await build_harness(max_connections_per_identity=1)
    async with harness.connect() as first:
        async with harness.open() as client:
            await client.send({"type": "connection_init"})
            answer = await client.receive()
            assert answer["type"] == "connection_error"
            [error] = answer["payload"]["errors"]
            assert (error["errorType"], error["errorCode"]) == ("LimitExceededError", 429)
            assert "max_connections_per_identity = 1" in error["message"]
            await expect_close(client, CloseReason.LIMIT_EXCEEDED, error["message"])
        await first.subscribe("s", ON_CREATE)
        assert harness.metrics.refusals["LimitExceededError"] == 1


async def test_too_many_subscriptions_are_refused_and_the_connection_stays(build_harness: Any) -> None:
    harness = await build_harness(max_subscribes_per_second_per_address=1, rate_window_ms=1000)
    async with harness.connect() as client:
        await client.subscribe("a", ON_CREATE)
        answer = await client.start("b", ON_CREATE)
        [error] = answer["payload"]["errors"]
        assert (answer["id"], error["errorType"]) == ("b", "LimitExceededError")
        assert "max_subscribes_per_second_per_address = 1" in error["message"]
        harness.pass_time(1000)
        await client.subscribe("b", ON_CREATE)


async def test_a_flood_of_messages_ends_the_connection(build_harness: Any) -> None:
    harness = await build_harness(max_messages_per_second_per_address=3, rate_window_ms=1000)
    async with harness.connect() as bystander:
        harness.pass_time(1000)
        async with harness.connect() as client:
            for _ in range(2):
                await client.send({"type": "stop", "id": "x"})
            await client.connection.ping()
            said = "Rate limit exceeded for your address (max_messages_per_second_per_address = 3)."
            await expect_close(client, CloseReason.LIMIT_EXCEEDED, said)
        harness.pass_time(1000)
        await bystander.subscribe("s", ON_CREATE)
    assert harness.metrics.closes["limit-exceeded"] == 1


def test_identities_are_told_apart_by_their_subject() -> None:
    limits = Limits(Settings(max_connections_per_identity=1), Clock())
    for number, subject in enumerate(("sha256:aa", "sha256:bb")):
        assert limits.identify(number, Identity("API_KEY", subject=subject).subject) is None


async def test_limits_hold_nothing_for_those_who_left(build_harness: Any) -> None:
    harness: Harness = await build_harness(max_connections_per_address=5, max_connections_per_identity=5)
    async with harness.connect(), harness.connect():
        assert len(harness.limits._present) == 2
    await wait_until_async(lambda: not harness.limits._present)
    await asyncio.sleep(0)
    assert [party.connections for party in harness.limits._addresses._parties.values()] == [0]
