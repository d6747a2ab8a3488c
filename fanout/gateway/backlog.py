"""What waits for clients that read slowly and have said what they would rather miss. Knows no transport.

Only while a transport's buffer is over its high-water mark is a subscription with a policy written to its place here
instead; when the buffer has emptied, what waits is written, and the subscription writes to the transport again. Each
subscription of a connection may hold an equal share of half of `max_outgoing_bytes`; what waits and what the transport
holds are together never more than all of it. See docs/decisions/0016-policies-for-slow-clients.md.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from fanout.engine import Registry, Subscription
from fanout.engine.registry import Write
from fanout.gateway.overflow import Keeper
from fanout.metrics import Metrics
from fanout.model import OverflowPolicy

# What an entry takes beside its payload, which it shares with all others that the payload waits for.
ENTRY_BYTES = 200


class Reader(Protocol):
    """What is needed of a connection."""

    write: Write

    @property
    def is_slow(self) -> bool:
        """Whether its transport's buffer is over the high-water mark."""
        ...

    @property
    def unsent_bytes(self) -> int:
        """What its transport's buffer holds."""
        ...

    def give_up(self) -> None:
        """Write nothing more, and close it as a slow client soon."""
        ...


class Held:
    """What waits for one subscription, oldest first, each with its number among all that came since it waits."""

    __slots__ = ("_backlog", "_came", "_entries", "_keeper", "_told", "bytes", "id_bytes")

    def __init__(self, backlog: Backlog, subscription: Subscription, keeper: Keeper) -> None:
        self._backlog = backlog
        self._keeper = keeper
        self._entries: dict[object, tuple[int, bytes]] = {}
        self._came = 0
        self._told = 0
        self.id_bytes = subscription.id_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, data: bytes) -> None:
        """The subscription's `Write` while it waits: the keeper has the payloads of which `data` was made."""
        del data
        keeper = self._keeper
        if keeper.overflow.policy is OverflowPolicy.LATEST:
            for payload, key in zip(keeper.batch, keeper.keys, strict=True):
                self._add(key, payload)
        else:
            for payload in keeper.batch:
                self._add(self._came, payload)
        self._backlog.check()

    def next_frame(self) -> bytes:
        """Take the oldest out, as a frame that tells how many were left out before it."""
        key = next(iter(self._entries))
        number, payload = self._remove(key)
        dropped = number - self._told
        self._told = number + 1
        return self._keeper.build_frame(payload, dropped, self.id_bytes)

    def _add(self, key: object, payload: bytes) -> None:
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (self._came, payload)
        self._came += 1
        self.bytes += len(payload) + ENTRY_BYTES
        self._backlog.bytes += len(payload) + ENTRY_BYTES
        # The newest stays in any case: a client that is told of it knows what it missed.
        while len(self._entries) > 1 and self._backlog.is_over(self.bytes):
            self._drop(next(iter(self._entries)))

    def _drop(self, key: object) -> None:
        self._remove(key)
        self._backlog.count_dropped(self._keeper.overflow.policy)

    def _remove(self, key: object) -> tuple[int, bytes]:
        entry = self._entries.pop(key)
        size = len(entry[1]) + ENTRY_BYTES
        self.bytes -= size
        self._backlog.bytes -= size
        return entry


class Backlog:
    """What waits for one connection."""

    __slots__ = ("_max_bytes", "_metrics", "_reader", "bytes", "held")

    def __init__(self, reader: Reader, max_bytes: int, metrics: Metrics) -> None:
        self._reader = reader
        self._max_bytes = max_bytes
        self._metrics = metrics
        self.held: dict[Subscription, Held] = {}
        self.bytes = 0

    def hold(self, subscription: Subscription, keeper: Keeper) -> Held:
        """The subscription's place; a new one is empty."""
        held = self.held.get(subscription)
        if held is None:
            held = self.held[subscription] = Held(self, subscription, keeper)
        return held

    def is_over(self, held_bytes: int) -> bool:
        """Whether a subscription that holds so many bytes has to drop some."""
        return (
            held_bytes > self._max_bytes // 2 // len(self.held)
            or self._reader.unsent_bytes + self.bytes > self._max_bytes
        )

    def check(self) -> None:
        """Give a connection up for which too much waits although all has been dropped that could be."""
        if self._reader.unsent_bytes + self.bytes > self._max_bytes:
            self._reader.give_up()

    def count_dropped(self, policy: OverflowPolicy) -> None:
        self._metrics.drops[f"overflow-{policy.value}"] += 1

    def next_frame(self) -> bytes | None:
        """Take out the oldest of the subscription whose turn it is; None if nothing waits."""
        for subscription, held in self.held.items():
            if len(held):
                frame = held.next_frame()
                del self.held[subscription]
                self.held[subscription] = held  # from now on behind all others
                return frame
        return None


class Backlogs:
    """What waits for the connections of one gateway; nothing is kept for those that are not slow.

    Args:
        registry: where subscriptions have their write functions.
        max_bytes: `max_outgoing_bytes`.
        metrics: counts what is dropped.
    """

    def __init__(self, registry: Registry, max_bytes: int, metrics: Metrics) -> None:
        self._registry = registry
        self._max_bytes = max_bytes
        self._metrics = metrics
        self._backlogs: dict[Reader, Backlog] = {}
        self._written: list[Keeper] = []

    def __len__(self) -> int:
        """How many connections are waited for."""
        return len(self._backlogs)

    def note(self, keeper: Keeper) -> None:
        """Let the keeper's batch go after this turn of the event loop, in which it is written."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._let_go)
        self._written.append(keeper)

    def redirect(self, reader: Reader, subscription: Subscription) -> None:
        """Let a live subscription write to where it has to now: its connection, or its place here."""
        keeper = subscription.group.join_parts
        write = reader.write
        if isinstance(keeper, Keeper) and reader.is_slow:
            backlog = self._backlogs.get(reader)
            if backlog is None:
                backlog = self._backlogs[reader] = Backlog(reader, self._max_bytes, self._metrics)
            write = backlog.hold(subscription, keeper).take
        self._registry.redirect(subscription, write)

    def flush(self, reader: Reader) -> bool:
        """Write what waits until the connection is slow again. Returns whether it can be written to directly."""
        backlog = self._backlogs.get(reader)
        while backlog is not None and not reader.is_slow:
            frame = backlog.next_frame()
            if frame is None:
                del self._backlogs[reader]
                break
            reader.write(frame)
        return not reader.is_slow

    def take_all(self, reader: Reader) -> list[bytes]:
        """Take out everything that waits for a connection, as frames."""
        frames = []
        backlog = self._backlogs.pop(reader, None)
        while backlog is not None and (frame := backlog.next_frame()) is not None:
            frames.append(frame)
        return frames

    def count_bytes(self, reader: Reader) -> int:
        """What waits for a connection."""
        backlog = self._backlogs.get(reader)
        return 0 if backlog is None else backlog.bytes

    def forget(self, reader: Reader, subscription: Subscription) -> None:
        """A subscription has ended, and nothing more is to be written to it."""
        backlog = self._backlogs.get(reader)
        if backlog is None:
            return
        held = backlog.held.pop(subscription, None)
        if held is not None:
            backlog.bytes -= held.bytes
        if not backlog.held:
            del self._backlogs[reader]

    def _let_go(self) -> None:
        for keeper in self._written:
            keeper.let_go()
        self._written.clear()
