"""How a server goes away: told to load balancers first, in steps, without noise, at once when told twice."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import httpx
import pytest

from fanout.gateway.admission import Stage
from fanout.model import CloseReason
from tests.fanout.gateway.conftest import Harness, expect_close
from tests.served import wait_until_async

ON_CREATE = "subscription { onCreateMessage { id } }"


def tell(harness: Harness) -> None:
    harness.server.handle_exit(signal.SIGTERM, None)


async def test_load_balancers_are_told_before_anybody_is_closed(build_harness: Any) -> None:
    harness = await build_harness(drain_delay_ms=10**9)
    async with harness.connect() as client:
        assert harness.gateway.admission.describe_unreadiness() == ""
        tell(harness)
        assert harness.gateway.admission.describe_unreadiness() == "draining"
        async with harness.connect() as late:  # nobody has noticed yet
            await late.subscribe("s", ON_CREATE)
        await client.subscribe("s", ON_CREATE)
        harness.deliver({"id": "1"})
        await client.receive_data()
        tell(harness)
        await expect_close(client, CloseReason.DRAINING)
    assert harness.gateway.admission.stage is Stage.CLOSING


async def test_what_was_delivered_arrives_before_the_close(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.subscribe("s", ON_CREATE)
        harness.deliver(*({"id": str(number)} for number in range(1000)))
        tell(harness)
        received = [(await client.receive_data())[1]["data"]["onCreateMessage"]["id"] for _ in range(1000)]
        assert received == [str(number) for number in range(1000)]
        await expect_close(client, CloseReason.DRAINING)


async def test_clients_are_closed_in_steps(build_harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = await build_harness(drain_per_second=10, shutdown_grace_ms=10**6)
    steps = asyncio.Semaphore(1)  # one pause is the delay before the first

    async def pause(ms: int) -> bool:
        await steps.acquire()
        return False

    monkeypatch.setattr(harness.server, "_pause", pause)
    async with harness.connect() as one, harness.connect() as two, harness.connect() as three:
        tell(harness)
        for closed in (1, 2, 3):
            await wait_until_async(lambda closed=closed: harness.metrics.closes["draining"] == closed)
            assert len(harness.gateway) == 3 - closed
            steps.release()
        for client in (one, two, three):
            await expect_close(client, CloseReason.DRAINING)
        for _ in range(100):  # it looks whether they have closed
            steps.release()


async def test_new_connections_are_refused_while_clients_are_closed(build_harness: Any) -> None:
    harness = await build_harness(drain_per_second=1, shutdown_grace_ms=10**6)
    async with httpx.AsyncClient() as http, harness.connect(), harness.connect():
        await http.get(harness.url)
        tell(harness)
        await wait_until_async(lambda: harness.gateway.admission.stage is Stage.CLOSING)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(harness.url.rpartition(":")[2]))
        tell(harness)


async def test_a_client_that_does_not_answer_is_cut_off_with_one_warning(
    build_harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    harness = await build_harness(shutdown_grace_ms=200)
    async with harness.connect() as client:
        client.connection.transport.pause_reading()
        tell(harness)
        await wait_until_async(lambda: not harness.server.server_state.connections)
        await wait_until_async(lambda: harness.stopped)
        client.connection.transport.resume_reading()
    assert [record.levelname for record in caplog.records if record.levelname != "INFO"] == ["WARNING"]
    assert "1 connections had not closed after shutdown_grace_ms (200)" in caplog.text


async def test_the_second_signal_ends_the_waiting(build_harness: Any, caplog: pytest.LogCaptureFixture) -> None:
    harness = await build_harness(drain_delay_ms=10**9, shutdown_grace_ms=10**9)
    async with harness.connect() as client:
        client.connection.transport.pause_reading()
        tell(harness)
        tell(harness)
        await wait_until_async(lambda: harness.stopped)
        client.connection.transport.resume_reading()
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
