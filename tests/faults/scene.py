"""What a fault test is played on: a deployment, its books, a publisher and a crowd; reconciled at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.faults.clients import Crowd
from tests.faults.deployment import Deployment, deploy
from tests.faults.oracle import STREAM, Books, Want, describe
from tests.faults.publisher import Publisher
from tests.served import wait_until_async

ROOMS = ("a", "b", "c", "d")
# By a plain argument, by a filter with buckets, by one without, and everything.
WANTS = (
    *(Want(room=room) for room in ROOMS),
    Want(rooms=("a", "c")),
    Want(rooms=("b", "d"), least_priority=3),
    Want(least_priority=6),
    Want(),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One test's parts."""

    deployment: Deployment
    books: Books
    crowd: Crowd
    publisher: Publisher

    @asynccontextmanager
    async def under_load(self, at_once: int = 5, pause_seconds: float = 0.005) -> AsyncIterator[None]:
        """Publish, so many at a time, until the block ends; all of it is accepted then."""
        publishing = asyncio.create_task(self.publisher.publish_until_stopped(at_once, pause_seconds))
        try:
            yield
        except BaseException:
            publishing.cancel()
            raise
        self.publisher.stop()
        await publishing

    async def wait_accepted(self, more: int) -> None:
        """Wait until more than so many events have been accepted since now."""
        accepted = self.books.accepted
        await wait_until_async(lambda: self.books.accepted > accepted + more)

    def reconcile(self) -> None:
        """Every event for every subscriber; also that nobody saw a wrong message and no gateway a defect of its own."""
        findings = self.books.judge()
        assert not findings, describe(findings)
        faults = [fault for subscriber in self.crowd.subscribers for fault in subscriber.faults]
        assert not faults, faults[:5]
        defects = self.deployment.find_defects()
        assert not defects, "".join(defects[:20])


@asynccontextmanager
async def set_scene(
    gateways: int,
    *,
    streams: Sequence[str] = (STREAM,),
    has_keys: bool = True,
    is_cluster: bool = False,
    **environment: str,
) -> AsyncIterator[Scene]:
    """So many gateways, and nobody connected yet. If the test has not failed, all must be caught up and reconciled.

    Args:
        gateways: how many.
        streams: that events are published to.
        has_keys: whether events carry idempotency keys; only without are they free of that cost.
        is_cluster: over a Redis Cluster of three servers.
        environment: settings of the gateways.
    """
    async with deploy(gateways, is_cluster=is_cluster, **environment, FANOUT_STREAM=",".join(streams)) as deployment:
        books = Books()
        crowd = Crowd(books, deployment.list_ports)
        publisher = Publisher(books, deployment.valkey.url, ROOMS, streams, has_keys=has_keys)
        scene = Scene(deployment, books, crowd, publisher)
        try:
            yield scene
            await crowd.wait_caught_up()
            scene.reconcile()
        finally:
            await crowd.leave()
            await publisher.close()
