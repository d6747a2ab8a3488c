"""Clients that stop reading, that are gone without a word, and that come all at once: nobody else notices."""

from __future__ import annotations

import asyncio
import resource

import pytest

from tests.faults.deployment import read_metric, wait_until_true
from tests.faults.oracle import Want
from tests.faults.scene import WANTS, set_scene
from tests.served import wait_until_async

pytestmark = pytest.mark.faults

PADDING = "x" * 2000


async def test_slow_readers_are_told_and_hold_up_nobody() -> None:
    async with set_scene(2, FANOUT_MAX_OUTGOING_BYTES="65536") as scene:
        await scene.crowd.join(WANTS, 3)
        slow = await scene.crowd.join([Want()], 4, is_narrow=True, comes_back=False)
        others = scene.crowd.subscribers[:-4]
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        for one in slow:
            one.stop_reading()
        # Until the service has closed them; the kernel's buffers take what they take.
        closes = [gateway for gateway in scene.deployment.gateways for _ in range(2)]
        while sum([await read_metric(one, "fanout_drops_total") for one in set(closes)]) < len(slow):
            await scene.publisher.publish(200)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up(others)
        for one in slow:
            one.go_on_reading()
        await wait_until_async(lambda: scene.books.count_endings() == {"4603": len(slow)})
        # They received an unbroken run until then, and are gone for good.
        scene.reconcile()
        for one in slow:
            scene.crowd.subscribers.remove(one)
            await one.stop()


async def test_half_open_clients_are_found_and_ended() -> None:
    settings = {"FANOUT_PING_AFTER_SILENCE_MS": "1000", "FANOUT_PONG_TIMEOUT_MS": "2000"}
    async with set_scene(1, **settings) as scene:
        (gateway,) = scene.deployment.gateways
        await scene.crowd.join(WANTS, 2)
        gone = await scene.crowd.join(WANTS, 1, comes_back=False)
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        for number, one in enumerate(gone):
            one.is_deaf = True
            if number % 2:
                one.stop_reading()  # as if the machine had lost its network: it does not even take our close frame
        await wait_until_async(lambda: scene.books.count_endings().total() >= len(gone) // 2)
        subscribed = len(scene.crowd.subscribers) - len(gone)
        await wait_until_true(lambda: _has_subscriptions(gateway, subscribed))
        for one in gone:
            one.go_on_reading()
        await wait_until_async(lambda: scene.books.count_endings() == {"4604": len(gone)})
        for one in gone:
            scene.crowd.subscribers.remove(one)
            await one.stop()
        await scene.publisher.publish(50)


async def test_thousands_connect_at_once() -> None:
    count = 2_500
    raise_descriptor_limit(2 * count)
    async with set_scene(2) as scene:
        async with scene.under_load(at_once=1, pause_seconds=0.05):
            wants = [Want(room="abcd"[number % 4]) for number in range(count)]
            await scene.crowd.join(wants)
        witnesses = await scene.crowd.join([Want()])
        await scene.publisher.publish(8)
        await scene.crowd.wait_caught_up(witnesses)
        # All were taken, at the first attempt.
        assert [one.refusals for one in scene.crowd.subscribers if one.refusals] == []
        assert scene.books.count_endings() == {}


async def test_thousands_lose_their_gateway_and_come_to_the_other_at_once() -> None:
    count = 2_000
    raise_descriptor_limit(2 * count)
    async with set_scene(2) as scene:
        await scene.crowd.join([Want(room="abcd"[number % 4]) for number in range(count)])
        await scene.publisher.publish(8)
        await scene.crowd.wait_caught_up()
        async with scene.under_load(at_once=4, pause_seconds=0.2):
            await scene.deployment.kill(await scene.deployment.find_router())
            await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers), 60)
        await scene.publisher.publish(8)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {"lost": count // 2}


async def test_more_connect_at_once_than_one_gateway_takes() -> None:
    count = 300
    async with set_scene(2, FANOUT_MAX_CONNECTIONS="200") as scene:
        full, other = scene.deployment.gateways
        scene.deployment.hide(other)
        joining = asyncio.create_task(scene.crowd.join([Want(room="abcd"[number % 4]) for number in range(count)]))
        await wait_until_async(lambda: any(one.refusals for one in scene.crowd.subscribers))
        await wait_until_true(lambda: _has_refused(full))
        # The others are told to come again, and find a gateway that has room; who is in, stays in.
        scene.deployment.show(other)
        await joining
        await scene.publisher.publish(40)
        await scene.crowd.wait_caught_up()
        refusals = {refusal for one in scene.crowd.subscribers for refusal in one.refusals}
        assert all("503" in refusal for refusal in refusals), refusals
        assert scene.books.count_endings() == {}


async def _has_refused(gateway: object) -> bool:
    return await read_metric(gateway, "fanout_refusals_total") > 0  # type: ignore[arg-type]


async def _has_subscriptions(gateway: object, count: int) -> bool:
    return await read_metric(gateway, "fanout_subscriptions") == count  # type: ignore[arg-type]


def raise_descriptor_limit(count: int) -> None:
    """Allow this process, and those it starts, so many open files more than usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
