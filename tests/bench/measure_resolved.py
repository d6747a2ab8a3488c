"""What a subscription's resolver costs: `python -m tests.bench.measure_resolved` prints figures.

10,000 subscribers at once through real resolver processes, up to the registry; no sockets. Not a test and never
asserted: figures depend on the machine.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fanout.api import Api
from fanout.engine import Registry
from fanout.errors import ClientFault
from fanout.gateway import Backlogs, Limits, Subscriptions
from fanout.metrics import Metrics
from fanout.model import AuthMode, Bucket, Identity, SubscribeRequest
from fanout.protocol import Subscribe
from fanout.protocol.appsync import APPSYNC
from fanout.resolvers.runtime import RuntimeHost
from fanout.schema import load_chat_schema
from fanout.settings import Settings

COUNT = 10_000
QUERY = "subscription On($room: ID, $author: String) { onCreateMessage(roomId: $room, author: $author) { id content } }"
RESOLVER = """
import { util, extensions } from '@aws-appsync/utils';
export function request(ctx) { return { payload: null }; }
export function response(ctx) {
  const filter = { roomId: { eq: ctx.args.roomId }, content: { ne: '' } };
  extensions.setSubscriptionFilter(util.transform.toSubscriptionFilter(filter));
  return null;
}
"""
SOMEBODY = Identity(AuthMode.API_KEY)


class Directory:
    async def register(self, buckets: Iterable[Bucket]) -> None:
        del buckets

    def release(self, buckets: Iterable[Bucket]) -> None:
        del buckets


class Subscriber:
    """A connection without a socket."""

    peer_address = "127.0.0.1"
    dialect = APPSYNC
    can_be_sent_deflated = False
    is_slow = False
    identity = SOMEBODY
    accepted = 0

    def __init__(self) -> None:
        self.subscriptions: dict[str, Any] = {}

    def write(self, data: bytes) -> None:
        del data

    def take_turn(self, work: Callable[[], None]) -> None:
        work()

    def acknowledge(self, id: str, token: int, position: str | None = None) -> None:
        del id, token, position
        Subscriber.accepted += 1

    def reject(self, id: str, token: int, fault: ClientFault) -> None:
        raise fault


def _build(settings: Settings, api: Api, metrics: Metrics, registry: Registry) -> Subscriptions:
    return Subscriptions(
        registry,
        authorize=lambda call: SOMEBODY,
        plan=api.plan,
        directory=Directory(),
        metrics=metrics,
        limits=Limits(settings, lambda: 0),
        backlogs=Backlogs(registry, settings.max_outgoing_bytes, metrics),
        catch_up=None,  # type: ignore[arg-type]  # nobody resumes here
        read_token=None,  # type: ignore[arg-type]
        recheck=api.recheck,
        holds=lambda identity: True,
        longest_resolving_ms=settings.request_execution_timeout_ms,
    )


async def measure(
    name: str, folder: Path | None, variables: Callable[[int], dict[str, Any]], *, traces: bool = False
) -> None:
    """Print what 10,000 subscribers take: time, or with `traces` memory."""
    settings = Settings(resolvers=folder)
    schema = load_chat_schema()
    metrics = Metrics()
    host = RuntimeHost(settings, schema, metrics)
    host.start()
    api = Api(schema, settings, resolvers=host.resolvers)
    registry = Registry(metrics)
    subscriptions = _build(settings, api, metrics, registry)
    subscribers = [Subscriber() for _ in range(COUNT)]

    def start(subscriber: Subscriber, number: int) -> None:
        request = SubscribeRequest(QUERY, None, variables(number), {"x-api-key": "da2-some-key"})
        subscriptions.start(subscriber, Subscribe("s", b'"s"', request, 1))  # type: ignore[arg-type]

    first = Subscriber()
    Subscriber.accepted = 0
    start(first, 0)
    while not Subscriber.accepted:  # until a process is up
        await asyncio.sleep(0.01)
    gc.collect()
    if traces:
        tracemalloc.start()
    began, began_cpu = time.perf_counter(), time.process_time()
    for number, subscriber in enumerate(subscribers):
        start(subscriber, number)
    while Subscriber.accepted <= COUNT:
        await asyncio.sleep(0.01)
    taken, taken_cpu = time.perf_counter() - began, time.process_time() - began_cpu
    gc.collect()
    if traces:
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        print(f"{name}: {kept / COUNT:.0f} bytes kept for each, {most / COUNT:.0f} while they waited")
    else:
        print(
            f"{name}: {taken:.1f} s for {COUNT:,}, {taken / COUNT * 1e6:.0f} us each, of which "
            f"{taken_cpu / COUNT * 1e6:.0f} us of the gateway's processor; {metrics.groups} group, "
            f"{len(subscriptions.own_plans):,} plans of their own"
        )
    await host.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "Subscription.onCreateMessage.js").write_text(RESOLVER)
        for traces in (False, True):
            asyncio.run(measure("no resolver", None, lambda number: {"room": "1"}, traces=traces))
            asyncio.run(measure("a resolver, equal variables", folder, lambda number: {"room": "1"}, traces=traces))
            asyncio.run(
                measure(
                    "a resolver, variables of their own",
                    folder,
                    lambda number: {"room": "1", "author": f"a{number}"},
                    traces=traces,
                )
            )


if __name__ == "__main__":
    main()
