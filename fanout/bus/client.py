"""A `Link`: one owner's way to Redis, be it a single server or a Redis Cluster. Knows no key and no stream.

Which of the two it is, is found out by the first call: a server that answers `CLUSTER SLOTS` is one of a cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import MovedError

from fanout.bus.cluster import ClusterCalls
from fanout.bus.node import AccessRefused, Argument, Command, CommandRefused, Endpoint, Node

__all__ = ["AccessRefused", "Argument", "BLOCK_MS", "Backoff", "Command", "CommandRefused", "Endpoint", "Link"]

BLOCK_MS = 1000
"""Longest that a blocking read waits. A slot may be moved away from under it, and nobody would tell."""


class Link:
    """Connections that open themselves when they are needed. Only one task may use a link at a time.

    Args:
        endpoint: where to.
        name: shown by `CLIENT LIST`.
        lost: called, without arguments, when an open connection breaks.
    """

    def __init__(self, endpoint: Endpoint, name: str, lost: Callable[[], None] | None = None) -> None:
        self._topology = endpoint.topology
        self._cluster = ClusterCalls(endpoint, name, lost)
        self._node = Node(endpoint.connect_seed(0, name), endpoint.address, lost)
        self._target: Node | ClusterCalls = self._node

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        """Send commands in one go and return their answers in order, as RESP2 has them (bytes, int, None, lists).

        A single server executes them in order. A cluster does so for commands whose keys are in one slot, see
        `fanout.bus.cluster`; what stands between MULTI and EXEC has to be in one.

        Args:
            commands: each a sequence of arguments.
            wait_ms: how long the commands themselves may block.
            refusable: error answers to so many of the first commands are returned in their place, as a
                `CommandRefused`, instead of being raised.

        Raises:
            Unavailable: no connection, or no answer in time. It is unknown which commands were executed.
            CommandRefused: Redis answered a command with an error; the other commands were executed.
        """
        await self.send(commands)
        return await self.receive(wait_ms=wait_ms, refusable=refusable)

    async def send(self, commands: Sequence[Command]) -> None:
        """Send commands without waiting for answers; `receive` has to follow. Opens connections if need be."""
        if not self._topology.is_known:
            await self._cluster.find_out()
            await self._cluster.close()
        # Another link may have found it out.
        self._target = self._node if self._topology.map is None else self._cluster
        await self._target.send(commands)

    async def receive(self, *, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        """Return the answers to what was sent; see `call`."""
        answers, is_refused = await self._target.receive(wait_ms)
        if is_refused:
            for answer in answers[refusable:]:
                if isinstance(answer, CommandRefused):
                    raise _explain(answer)
        return answers

    async def probe(self) -> None:
        """See that every server of a cluster that owns keys answers, and is who it was; nothing for a single server.

        Raises:
            Unavailable: one of them does not.
        """
        if self._topology.map is not None:
            self._target = self._cluster
            await self._cluster.probe()

    @property
    def is_at_end(self) -> bool:
        """Whether a single server has closed the connection, which the next call would find out."""
        return self._node.is_at_end

    async def close(self) -> None:
        """Close the connections; the next call opens them again."""
        await self._node.close()
        await self._cluster.close()


def _explain(refused: CommandRefused) -> CommandRefused:
    if not isinstance(refused.error, MovedError):
        return refused
    return CommandRefused(
        "Redis is a cluster, and the user of redis_url may not run CLUSTER SLOTS: allow it (ACL +cluster|slots)",
        refused.error,
    )


class Backoff:
    """Growing pauses between attempts, from 20 ms to 1 s. A deployment has few gateways, so there is no jitter."""

    _FIRST_S = 0.02
    _LONGEST_S = 1.0

    def __init__(self) -> None:
        self._next_s = self._FIRST_S

    async def pause(self) -> None:
        """Wait before the next attempt."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._LONGEST_S)
        await asyncio.sleep(pause_s)

    def reset(self) -> None:
        """An attempt went well: the next pause is a short one."""
        self._next_s = self._FIRST_S
