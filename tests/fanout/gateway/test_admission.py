"""When a gateway takes no more, and what it says."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from fanout.gateway.admission import Admission, Stage
from fanout.settings import Settings
from tests.fanout.gateway.conftest import Harness

ON_CREATE = "subscription { onCreateMessage { id } }"


def build(connections: int = 0, memory_bytes: int = 0, **settings: Any) -> Admission:
    admission = Admission(Settings(**settings), lambda: memory_bytes)
    admission.open_connections = range(connections)
    admission.on_due(0)
    return admission


def test_without_limits_the_file_descriptors_are_the_limit() -> None:
    assert build(100).find_refusal(0) is None
    refused = build(10**9).find_refusal(0)
    assert refused is not None
    assert "ulimit -n" in refused.message


def test_the_limit_on_connections_counts_the_one_that_asks_in() -> None:
    assert build(10, max_connections=10).find_refusal(0) is None
    refused = build(11, max_connections=10).find_refusal(0)
    assert refused is not None
    assert (refused.status, refused.reason) == (503, "max-connections")
    assert "max_connections = 10" in refused.message
    assert build(9, max_connections=10).describe_unreadiness() == ""
    assert "max_connections" in build(10, max_connections=10).describe_unreadiness()


def test_the_limit_on_those_who_have_not_initialised() -> None:
    assert build(10, max_unauthenticated_connections=5).find_refusal(5) is None
    refused = build(10, max_unauthenticated_connections=5).find_refusal(6)
    assert refused is not None
    assert refused.reason == "max-unauthenticated-connections"


def test_memory_is_looked_at_every_second() -> None:
    in_use = [100]
    admission = Admission(Settings(max_memory_bytes=1000), lambda: in_use[0])
    assert admission.on_due(5000) == 6000
    assert admission.find_refusal(0) is None
    in_use[0] = 1001
    admission.on_due(6000)
    refused = admission.find_refusal(0)
    assert refused is not None
    assert refused.reason == "max-memory"
    assert "max_memory_bytes = 1000" in admission.describe_unreadiness()
    in_use[0] = 1000
    admission.on_due(7000)
    assert admission.find_refusal(0) is None


def test_memory_of_this_process_is_read() -> None:
    admission = Admission(Settings(max_memory_bytes=1))
    admission.on_due(0)
    assert admission.find_refusal(0) is not None
    admission = Admission(Settings(max_memory_bytes=10**15))
    admission.on_due(0)
    assert admission.find_refusal(0) is None


def test_a_gateway_that_leaves_says_so_and_takes_nobody_once_it_closes() -> None:
    admission = build()
    admission.stage = Stage.LEAVING
    assert admission.describe_unreadiness() == "draining"
    assert admission.find_refusal(0) is None
    admission.stage = Stage.CLOSING
    assert admission.describe_unreadiness() == "draining"
    refused = admission.find_refusal(0)
    assert refused is not None
    assert (refused.status, refused.reason) == (503, "draining")


async def refuse(harness: Harness) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with harness.open():
            pass
    return caught.value


async def test_a_full_gateway_refuses_with_an_answer_to_retry_and_serves_on(build_harness: Any) -> None:
    harness = await build_harness(max_connections=2)
    async with harness.connect() as client, harness.connect():
        response = (await refuse(harness)).response
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert b"max_connections = 2" in response.body
        assert harness.metrics.refusals["max-connections"] == 1
        await client.subscribe("s", ON_CREATE)
        harness.deliver({"id": "1"})
        await client.receive_data()
    while len(harness.gateway.admission.open_connections):
        await asyncio.sleep(0)
    async with harness.connect():
        pass


async def test_plain_http_is_answered_by_a_full_gateway(build_harness: Any) -> None:
    harness = await build_harness(max_connections=1)
    async with harness.connect(), httpx.AsyncClient() as http:
        assert (await http.get(harness.url)).status_code == 404  # the application's answer
