"""Real processes go away: quietly, with a reason that clients retry on, and at once when told twice."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import httpx
import pytest

from fanout.model import CloseReason
from tests.served import Served, connect_appsync, find_adjacent_ports, run_command, serve, wait_until, wait_until_async

ON_CREATE = "subscription { onCreateMessage { id } }"
PATIENT = {"FANOUT_SHUTDOWN_GRACE_MS": "1000000000"}


def list_complaints(served: Served) -> list[str]:
    return [line for line in served.log if " INFO " not in line]


async def test_an_unresponsive_client_is_cut_off_and_told_in_one_line() -> None:
    with serve(environment={"FANOUT_SHUTDOWN_GRACE_MS": "500"}) as served:
        async with connect_appsync(served.url) as client:
            client.connection.transport.pause_reading()
            assert await asyncio.to_thread(served.stop) == 0
            client.connection.transport.resume_reading()
        [line] = list_complaints(served)
        assert " WARNING " in line
        assert "shutdown_grace_ms (500)" in line


@pytest.mark.parametrize("workers", [1, 2])
async def test_readiness_goes_down_at_once_and_a_second_signal_ends_the_waiting(workers: int) -> None:
    worker_port = find_adjacent_ports(2)
    environment = {**PATIENT, "FANOUT_DRAIN_DELAY_MS": "1000000000", "FANOUT_WORKER_PORT": str(worker_port)}
    with serve("--workers", str(workers), environment=environment) as served:
        ports = [worker_port + number for number in range(workers)] if workers > 1 else [served.port]
        async with connect_appsync(served.url) as client:
            await client.subscribe("s", ON_CREATE)
            served.process.send_signal(signal.SIGTERM)
            for port in ports:
                await wait_until_async(lambda port=port: is_draining(port))
            served.publish("createMessage", {"id": "1"})  # all is served on
            assert (await client.receive_data())[0] == "s"
            assert served.process.poll() is None
            client.connection.transport.pause_reading()
            served.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: served.process.poll() is not None)
            assert served.process.returncode == 0
            client.connection.transport.resume_reading()
        assert list_complaints(served) == []


async def test_ctrl_c_reaches_the_whole_group_and_is_one_signal_for_workers() -> None:
    environment = {**PATIENT, "FANOUT_DRAIN_DELAY_MS": "1000000000"}
    with serve("--workers", "2", environment=environment, own_group=True) as served:
        async with connect_appsync(served.url) as client:
            await client.subscribe("s", ON_CREATE)
            os.killpg(served.process.pid, signal.SIGINT)
            await wait_until_async(lambda: sum("draining" in line for line in served.log) == 2)
            served.publish("createMessage", {"id": "1"})  # they are told to go, but not to hurry
            assert (await client.receive_data())[0] == "s"
            served.process.send_signal(signal.SIGTERM)
            await client.connection.wait_closed()
        assert await asyncio.to_thread(served.process.wait, 20) == 0


async def test_a_second_signal_lets_out_why_clients_are_closed() -> None:
    with serve(environment={**PATIENT, "FANOUT_DRAIN_DELAY_MS": "1000000000"}) as served:
        async with connect_appsync(served.url) as client:
            served.process.send_signal(signal.SIGTERM)
            await wait_until_async(lambda: is_draining(served.port))
            served.process.send_signal(signal.SIGTERM)
            await client.connection.wait_closed()
            assert client.connection.close_code == CloseReason.DRAINING.code


def is_draining(port: int) -> bool:
    response = httpx.get(f"http://127.0.0.1:{port}/readyz")
    return response.status_code == 503 and response.json()["reason"] == "draining"


def test_workers_do_not_drain_when_one_cannot_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {"FANOUT_DRAIN_DELAY_MS": "1000000000", "FANOUT_WORKER_PORT": str(taken.getsockname()[1])}
        result = run_command("serve", "--workers", "2", "--port", "0", environment=environment)
    assert result.returncode == 1
    assert "Address already in use" in result.stderr
