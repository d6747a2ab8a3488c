"""What operators do wrong or at a bad moment: a schema with an error, an order while a gateway does not answer."""

from __future__ import annotations

import asyncio
import signal
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.faults.deployment import read_metric, wait_until_true
from tests.faults.scene import WANTS, set_scene
from tests.served import API_KEY, Served, wait_until_async

pytestmark = pytest.mark.faults

CHAT = Path("fanout/schema/chat.graphql").read_text(encoding="utf-8")
ADMIN_KEY = "da2-operator"


async def test_a_schema_with_an_error_on_reload_changes_nothing_and_the_next_one_drops_nobody(tmp_path: Path) -> None:
    schema = tmp_path / "api.graphql"
    schema.write_text(CHAT)
    async with set_scene(2, FANOUT_SCHEMA=str(schema)) as scene:
        await scene.crowd.join(WANTS, 4)
        async with scene.under_load():
            wrong = CHAT.replace("roomId: ID!", "roomId: Nothing!", 1)
            wider = CHAT.replace("roomId: ID!", "roomId: ID!\n  language: String", 1)
            for number, text in enumerate((wrong, wider, CHAT[: len(CHAT) // 2]), 1):
                schema.write_text(text)
                for gateway in scene.deployment.gateways:
                    gateway.process.send_signal(signal.SIGHUP)
                await wait_until_true(lambda number=number: _have_reloaded(scene.deployment.gateways, number))
                await scene.wait_accepted(100)
            await scene.crowd.join(WANTS, 1)  # with what was good last
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}
        for gateway in scene.deployment.gateways:
            told = [line for line in gateway.log if "api.graphql:" in line]
            assert len(told) == 2, gateway.log
            assert "Nothing" in told[0]


async def test_an_order_to_close_reaches_a_gateway_that_was_stopped() -> None:
    async with set_scene(2, FANOUT_ADMIN_KEY=ADMIN_KEY) as scene:
        await scene.crowd.join(WANTS, 2)
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        stopped = await scene.deployment.find_other()
        (awake,) = [gateway for gateway in scene.deployment.gateways if gateway is not stopped]
        subscribed = len(scene.crowd.subscribers)
        scene.deployment.stop(stopped)
        identity = f"sha256:{sha256(API_KEY.encode()).hexdigest()}"
        answer = await asyncio.to_thread(_order, awake, {"identity": identity})
        assert answer["gateways"] == {"told": 2, "answered": 1}
        assert await read_metric(awake, "fanout_closes_total") >= subscribed // 2
        await scene.publisher.publish(50)
        scene.deployment.go_on(stopped)
        await wait_until_async(lambda: scene.books.count_endings() == {"4620": subscribed})
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(50)


def _order(gateway: Served, order: dict[str, str]) -> dict[str, object]:
    headers = {"x-api-key": ADMIN_KEY}
    response = httpx.post(f"{gateway.url}/admin/connections/close", json=order, headers=headers, timeout=20)
    assert response.status_code == 200, response.text
    return dict(response.json())


async def _have_reloaded(gateways: list[Served], times: int) -> bool:
    return all([await read_metric(gateway, "fanout_reloads_total") == times for gateway in gateways])
