"""Calls to a Redis Cluster: each command to the server that owns its key's slot. Knows no stream and no gateway.

What a caller may rely on, beyond what `Link` promises for a single server:

- Commands on keys of one slot are executed in the order in which they stand in the call, also when the slot moves in
  the middle of it: what a server refuses because of a move, it refuses from there on (keys are moved one at a time, and
  whole), and that is sent again in order. Only a server that could not serve for a moment could execute later commands
  and not earlier ones; so a call in which that was answered fails.
- Commands on keys of different slots are executed at any time in the call, in any order.
- What stands between MULTI and EXEC goes to one server, and again as a whole.
- A refused redirection (MOVED, ASK, TRYAGAIN) was not executed; so nothing is ever executed twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

from fanout.bus.node import Command, CommandRefused, Endpoint, Node
from fanout.bus.slots import Address, find_slot, parse_slot_ranges
from fanout.errors import ConfigurationError, Unavailable

_MOST_ROUNDS = 10
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5
_ROUNDS_WITHOUT_PAUSE = 2
_REFRESH_TIMEOUT_S = 1.0
_READ_MAP: list[Command] = [("CLUSTER", "SLOTS")]


@dataclass(slots=True)
class _Unit:
    """Commands that stay together: one, or a transaction; and where their answers go.

    `asked` is the server that a slot on its way is asked at; the next call does not remember it.
    """

    start: int
    commands: list[Command]
    slot: int | None
    asked: Address | None = None

    def list_commands(self) -> list[Command]:
        return [("ASKING",), *self.commands] if self.asked is not None else self.commands


class ClusterCalls:
    """One owner's connections to the servers of a cluster, each opened when it is needed.

    Args:
        endpoint: with the topology that all owners share.
        name: shown by `CLIENT LIST`.
        lost: called when an open connection breaks.
    """

    def __init__(self, endpoint: Endpoint, name: str, lost: Callable[[], None] | None) -> None:
        self._endpoint = endpoint
        self._topology = endpoint.topology
        self._name = name
        self._lost = lost
        self._nodes: dict[Address, Node] = {}
        self._seeds: dict[int, Node] = {}
        self._units: list[_Unit] = []
        self._sent: list[tuple[Node, list[_Unit]]] = []
        self._count = 0

    async def find_out(self) -> None:
        """Ask the first server that answers whether it is one of a cluster, and for the map.

        Raises:
            Unavailable: none of the servers of the URL can be reached.
            ConfigurationError: several were named, and they are no cluster.
        """
        failure: Unavailable | None = None
        for number in range(self._endpoint.seed_count):
            node = self._seed(number)
            try:
                await node.send(_READ_MAP)
                (answer,), is_refused = await node.receive()
            except Unavailable as error:
                failure = failure or error
                continue
            if is_refused:  # "cluster support disabled"; or a proxy, or a user who may not know
                if self._endpoint.seed_count > 1:
                    raise ConfigurationError(f"redis_url: several servers, and {node.address} is in no Redis Cluster")
                self._topology.set_single()
            else:
                self._topology.update(parse_slot_ranges(answer, self._host(node)))
            return
        assert failure is not None
        raise failure

    async def send(self, commands: Sequence[Command]) -> None:
        """Send commands to the servers they belong to; see `Link.send`."""
        self._units = _divide(commands)
        self._count = len(commands)
        self._sent = []
        if self._topology.is_stale:
            await self.refresh()
        await self._send_units(self._units)

    async def receive(self, wait_ms: int = 0) -> tuple[list[Any], bool]:
        """Return the answers to what was sent, in the order of the commands; see `Node.receive`.

        Redirections are followed here. A slot that is being moved may make it wait for some seconds.
        """
        answers: list[Any] = [None] * self._count
        pause_s = _FIRST_PAUSE_S
        redirected, must_wait, is_refused = await self._receive_round(answers, wait_ms)
        if not redirected:
            return answers, is_refused
        for number in range(_MOST_ROUNDS):
            if must_wait or number >= _ROUNDS_WITHOUT_PAUSE:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            await self._send_units(redirected)
            redirected, must_wait, _ = await self._receive_round(answers, wait_ms)
            if not redirected:
                return answers, any(isinstance(answer, CommandRefused) for answer in answers)
        self._topology.is_stale = True
        raise Unavailable(f"the Redis Cluster at {self._endpoint.address} is moving slots, or disagrees about them")

    async def probe(self) -> None:
        """Read the map again, and see that all servers that own slots answer.

        Raises:
            Unavailable: one of them does not.
        """
        await self.refresh()
        assert self._topology.map is not None
        nodes = [self._node(address) for address in self._topology.map.primaries]
        try:
            for node in nodes:
                await node.send([("PING",)])
            for node in nodes:
                await node.receive()
        except Unavailable:
            self._topology.is_stale = True
            raise

    async def refresh(self) -> None:
        """Read the map again from whichever server answers first, tried in random order.

        Raises:
            Unavailable: none of those that are known answered.
        """
        known = self._topology.map
        assert known is not None
        # In random order: a server that is cut off from the others has an old map, and is not to be asked each time.
        candidates = [self._node(address) for address in random.sample(known.primaries, len(known.primaries))]
        candidates += [self._node(address) for address in random.sample(known.replicas, len(known.replicas))]
        candidates += [self._seed(number) for number in range(self._endpoint.seed_count)]
        failure: Unavailable | None = None
        for node in candidates:
            try:
                async with asyncio.timeout(_REFRESH_TIMEOUT_S):
                    await node.send(_READ_MAP)
                    (answer,), is_refused = await node.receive()
            except TimeoutError:
                continue
            except Unavailable as error:
                failure = failure or error
                continue
            if not is_refused and answer:
                self._topology.update(parse_slot_ranges(answer, self._host(node)))
                await self._forget_strangers()
                return
        raise failure or Unavailable(f"the Redis Cluster at {self._endpoint.address} cannot be reached")

    async def close(self) -> None:
        """Close all connections."""
        for node in (*self._nodes.values(), *self._seeds.values()):
            await node.close()

    async def _send_units(self, units: Sequence[_Unit]) -> None:
        by_node: dict[Node, list[_Unit]] = {}
        for unit in units:
            by_node.setdefault(self._choose_node(unit), []).append(unit)
        self._sent = list(by_node.items())
        for node, parts in self._sent:
            try:
                await node.send([command for unit in parts for command in unit.list_commands()])
            except Unavailable:
                # What was sent to others is executed or not, and their answers are dropped by their next `send`.
                self._topology.is_stale = True
                raise

    async def _receive_round(self, answers: list[Any], wait_ms: int) -> tuple[list[_Unit], bool, bool]:
        """Receive from all servers; returns what to send again, whether after a pause, and if there were errors."""
        failure: Unavailable | None = None
        redirected: list[_Unit] = []
        must_wait = is_any_refused = False
        for node, units in self._sent:
            try:
                received, is_refused = await node.receive(wait_ms)
            except Unavailable as error:
                failure = failure or error
                continue
            place = 0
            for unit in units:
                place += unit.asked is not None
                end = place + len(unit.commands)
                answers[unit.start : unit.start + len(unit.commands)] = own = received[place:end]
                place = end
                if not is_refused:
                    continue
                is_any_refused = True
                for answer in own:
                    if not isinstance(answer, CommandRefused):
                        continue
                    match answer.error:
                        case MovedError() as moved:
                            address = self._read_address(moved, node)
                            self._topology.note_moved(moved.slot_id, address)
                            unit.asked = None
                        case AskError() as ask:
                            unit.asked = self._read_address(ask, node)
                        case TryAgainError():
                            must_wait = True
                        case ClusterDownError():
                            failure = failure or Unavailable(f"the Redis Cluster is down: {answer}")
                            break
                        case _:
                            continue
                    redirected.append(unit)
                    break
        if failure is not None:
            self._topology.is_stale = True
            raise failure
        redirected.sort(key=lambda unit: unit.start)
        return redirected, must_wait, is_any_refused

    def _choose_node(self, unit: _Unit) -> Node:
        if unit.asked is not None:
            return self._node(unit.asked)
        assert self._topology.map is not None
        if unit.slot is None:
            primaries = self._topology.map.primaries
            return self._node(primaries[0]) if primaries else self._seed(0)
        if (address := self._topology.find_owner(unit.slot)) is None:
            self._topology.is_stale = True
            raise Unavailable(f"nobody in the Redis Cluster at {self._endpoint.address} serves slot {unit.slot}")
        return self._node(address)

    def _read_address(self, error: AskError, node: Node) -> Address:
        return Address(error.host or self._host(node), error.port)

    def _node(self, address: Address) -> Node:
        if not address.port:  # a server that has a unix socket only
            return self._seed(0)
        node = self._nodes.get(address)
        if node is None:
            connection = self._endpoint.connect(address, self._name)
            node = self._nodes[address] = Node(connection, self._endpoint.describe(address), self._lost)
        return node

    def _seed(self, number: int) -> Node:
        node = self._seeds.get(number)
        if node is None:
            connection = self._endpoint.connect_seed(number, self._name)
            node = self._seeds[number] = Node(connection, self._endpoint.describe_seed(number), self._lost)
        return node

    @staticmethod
    def _host(node: Node) -> str:
        return node.address.split("://", 1)[1].rpartition(":")[0]

    async def _forget_strangers(self) -> None:
        """Close connections to servers that have left the cluster."""
        known = self._topology.map
        assert known is not None
        for address in self._nodes.keys() - {*known.primaries, *known.replicas}:
            await self._nodes.pop(address).close()


def _divide(commands: Sequence[Command]) -> list[_Unit]:
    """Cut a call into what has to stay together."""
    units: list[_Unit] = []
    transaction: _Unit | None = None
    for index, command in enumerate(commands):
        slot = find_slot(command)
        if transaction is not None:
            transaction.commands.append(command)
            transaction.slot = slot if transaction.slot is None else transaction.slot
            if command[0] == "EXEC":
                transaction = None
            continue
        unit = _Unit(index, [command], slot)
        units.append(unit)
        if command[0] == "MULTI":
            transaction = unit
    return units
