"""The real classes of the bus against a real server, one command at a time, in whatever order is asked for.

Each connection is a process whose steps are: the server executes its next command (commands between MULTI and EXEC
together), and then, as a step of its own, its owner gets the answers. So everything that machines, networks and
schedulers may do to the order of things is an order of these steps; a gateway that was stopped is one whose
connections take none. Blocking reads and a lease that is taken wait by not being ready. Time does not pass: timeouts
are far away, and what expiry does is a step of the scenario.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast
from unittest.mock import patch

import hiredis

from fanout.bus import Bus
from fanout.bus import bus as bus_module
from fanout.bus.client import Command, CommandRefused, Endpoint
from fanout.bus.keys import Keys
from fanout.bus.lease import _ACQUIRE
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import Bucket, Event
from fanout.settings import Settings
from tests.fanout.bus.harness import ROUTES, STREAM
from tests.model.explore import Touched

_FOREVER_MS = 10**9
SETTINGS = Settings(
    heartbeat_interval_ms=_FOREVER_MS,
    heartbeat_timeout_ms=3 * _FOREVER_MS,
    lease_ms=_FOREVER_MS,
    bucket_linger_ms=_FOREVER_MS,
)
KEYS = Keys("fanout:")
_READS = {"GET", "SMEMBERS", "EXISTS", "HMGET", "XINFO", "XRANGE", "XREAD"}


class Server:
    """A connection to the server, without an event loop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(url.removeprefix("unix://"))
        self._reader = hiredis.Reader()

    def call(self, *commands: Command) -> list[Any]:
        self._socket.sendall(b"".join(hiredis.pack_command(tuple(command)) for command in commands))  # type: ignore[arg-type]
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = self._reader.gets()
            if answer is False:
                self._reader.feed(self._socket.recv(1 << 16))
            else:
                answers.append(answer)
        return answers

    def close(self) -> None:
        self._socket.close()


class SteppedLink:
    """Stands for a `Link`: what is sent waits for steps of the world."""

    is_at_end = False

    def __init__(self, world: BusWorld, gateway: str, name: str, lost: Callable[[], None]) -> None:
        self._world = world
        self._lost = lost
        self.gateway = gateway
        self.units: list[list[Command]] = []
        self.answers: list[Any] = []
        self.receiving: asyncio.Future[None] | None = None
        self.name = name
        # A router's two connections have one owner, which uses them in turn.
        world.links.setdefault(f"{gateway}.{'router' if name == 'stream' else name}", []).append(self)

    @property
    def is_busy(self) -> bool:
        return bool(self.units) or (self.receiving is not None and not self.receiving.done())

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        await self.send(commands)
        return await self.receive(wait_ms=wait_ms, refusable=refusable)

    async def send(self, commands: Any) -> None:
        self.units, self.answers = list(_split(commands)), []

    async def receive(self, *, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        self.receiving = asyncio.get_running_loop().create_future()
        await self.receiving
        answers, self.answers = self.answers, []
        for index, answer in enumerate(answers):
            if isinstance(answer, hiredis.ReplyError):
                answers[index] = CommandRefused(str(answer), cast(Any, answer))
                if index >= refusable:
                    raise answers[index]
        return answers

    def cut(self) -> None:
        """The connection breaks: what the server has not got is never executed, what it has answered is not heard."""
        self.units, self.answers = [], []
        receiving, self.receiving = self.receiving, None
        if receiving is not None:
            receiving.set_exception(Unavailable("cut by the test"))
        self._lost()

    async def probe(self) -> None:
        pass

    async def close(self) -> None:
        pass


class SteppedGateway:
    """One gateway: local side and router; what is delivered to it is kept."""

    def __init__(self, world: BusWorld, name: str) -> None:
        self.name = name
        self.delivered: list[str] = []
        self.missed: list[str] = []

        def open_link(endpoint: Endpoint, link_name: str, lost: Callable[[], None]) -> SteppedLink:
            return SteppedLink(world, name, link_name.removeprefix("fanout-"), lost)

        with patch.object(bus_module, "Link", open_link):
            bus = Bus(SETTINGS, world.url, ROUTES.get, self._deliver, self.missed.append, Metrics())
        self.local, self.router = bus._local, bus._routers[STREAM]
        # What the tasks of one gateway have in common is touched in these two places.
        take, wait_inbox_read = self.local.intake.take, self.local.wait_inbox_read

        def watched_take(stream: str, events: list[Event]) -> None:
            world.touch(f"{name}.intake")
            take(stream, events)

        async def watched_wait(*arguments: Any) -> None:
            world.touch(f"{name}.intake")
            await wait_inbox_read(*arguments)

        self.local.intake.take = watched_take  # type: ignore[method-assign]
        self.local.wait_inbox_read = watched_wait  # type: ignore[method-assign]

    @property
    def token(self) -> str:
        return self.router._lease._token

    def _deliver(self, stream: str, events: list[Event]) -> None:
        self.delivered += [event.id for event in events]


class BusWorld:
    """Two gateways, the first of which routes; a scenario adds what else happens.

    Args:
        server: emptied at the start.
        gateways: names of the gateways.
        registered: names of those that are in the bucket from the beginning.
        bucket: what subscriptions want.
    """

    def __init__(self, server: Server, gateways: tuple[str, ...], registered: tuple[str, ...], bucket: Bucket) -> None:
        self.server = server
        self.url = server.url
        self.bucket = bucket
        self.links: dict[str, list[SteppedLink]] = {}
        self.dead: set[str] = set()
        # Processes of the scenario's own: when they can take a step, and the step.
        self.happenings: dict[str, tuple[Callable[[], bool], Callable[[], None]]] = {}
        self._touched: set[tuple[str, bool]] = set()
        self._woken: set[str] = set()
        self._inbox_ids: dict[str, int] = {}
        self._ready: dict[str, tuple[object, bool]] = {}
        self._changes: dict[str, int] = {}
        server.call(("FLUSHALL",))
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._complain)
        self.complaints: list[str] = []
        tokens = iter(range(10**6))
        # Versions and ids have to be the same in every run.
        with patch.object(secrets, "token_hex", lambda size=0: f"t{next(tokens)}"):
            self.gateways = {name: SteppedGateway(self, name) for name in gateways}
        self._tasks: list[asyncio.Task[Any]] = []
        for gateway in self.gateways.values():
            self._run_to_rest(gateway.local.membership.enter())
        for gateway in self.gateways.values():
            gateway.local.membership._verified.set()
            self.spawn(gateway.local.membership.run())
            self.spawn(gateway.local.read_inbox())
        for name in registered:
            self._run_to_rest(self.gateways[name].local.membership.registration.register([bucket]))
        for gateway in self.gateways.values():
            self.spawn(gateway.router.run())
        self._come_to_rest()

    # What `explore` asks for

    def list_enabled(self) -> list[str]:
        happenings = [name for name, (can, _) in self.happenings.items() if can()]
        alive = [name for name in self._list_busy() if name.partition(".")[0] not in self.dead]
        return happenings + [name for name in alive if self._is_ready(name)]

    def take_step(self, process: str) -> Touched:
        self._touched = set()
        busy = self._list_busy()
        self.take_one(process)
        self.settle()
        # Who has something to do because of this step comes after it.
        for name in self._list_busy():
            if name != process and name not in busy:
                self._woken.add(name)
                self.touch(f"{name} woken")
        if process in self._woken:
            self._woken.discard(process)
            self.touch(f"{process} woken")
        return frozenset(self._touched)

    def take_one(self, process: str) -> None:
        """One step, without what follows in other tasks."""
        if process in self.happenings:
            self.happenings[process][1]()
            return
        link = self._find_busy(process)
        self.touch(f"{process} link")
        if link.units:
            unit = link.units.pop(0)
            link.answers += self._execute(unit)
        else:
            receiving, link.receiving = link.receiving, None
            assert receiving is not None
            if not receiving.done():
                receiving.set_result(None)
            if link.name == "inbox":
                self.touch(f"{link.gateway}.intake")

    def list_prevented(self) -> dict[str, Touched]:
        """Whoever waits for the lease. A blocking read is not prevented by anything, only made possible."""
        waiting = {}
        for name in self._list_busy():
            link = self._find_busy(name)
            if name.partition(".")[0] not in self.dead and link.units and not self._is_ready(name):
                keys, changes = _keys_of(link.units[0][0])
                if changes:
                    waiting[name] = frozenset((key, changes) for key in keys)
        return waiting

    def finish(self) -> None:
        self.abandon()
        assert self.complaints == []

    def abandon(self) -> None:
        if self.loop.is_closed():
            return
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        self.loop.close()

    # What scenarios are made of

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(coroutine)
        self._tasks.append(task)
        return task

    def settle(self) -> None:
        """Let every task go on as far as it can without an answer of the server."""
        ready = cast(Any, self.loop)._ready
        while ready:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def touch(self, name: str, changes: bool = True) -> None:
        self._touched.add((name, changes))

    def ask(self, *command: Any) -> Any:
        """A command of the scenario's own, as a part of its present step."""
        return self._execute([command])[0]

    def publish(self, number: int) -> None:
        """An event with an id that is the same in every run."""
        data = f'{{"roomId":"a","number":{number}}}'
        self.ask("XADD", STREAM, f"{number}-0", "mutation", "createMessage", "data", data)

    def holder(self) -> str | None:
        """Which gateway holds the lease."""
        (token,) = self.server.call(("GET", KEYS.lease(STREAM)))
        return next((name for name, gateway in self.gateways.items() if token == gateway.token.encode()), None)

    # How it is done

    def _execute(self, unit: list[Command]) -> list[Any]:
        commands = []
        for command in unit:
            keys, changes = _keys_of(command)
            for key in keys:
                self.touch(key, changes)
                if changes:
                    self._changes[key] = self._changes.get(key, 0) + 1
            command = list(command)
            if command[0] == "XREAD" and "BLOCK" in command:
                at = command.index("BLOCK")
                del command[at : at + 2]
            if command[0] == "XADD" and "*" in command:
                # Ids by the clock would differ from run to run.
                key = str(command[1])
                self._inbox_ids[key] = self._inbox_ids.get(key, 0) + 1
                command[command.index("*")] = f"{self._inbox_ids[key]}-0"
            commands.append(command)
        return [
            10**6 if isinstance(answer, int) and answer > 10**6 else answer for answer in self.server.call(*commands)
        ]

    def _list_busy(self) -> list[str]:
        return [name for name, links in self.links.items() if any(link.is_busy for link in links)]

    def _find_busy(self, name: str) -> SteppedLink:
        (link,) = [link for link in self.links[name] if link.is_busy]
        return link

    def _is_ready(self, name: str) -> bool:
        link = self._find_busy(name)
        if not link.units:
            return True
        command = link.units[0][0]
        if command[0] == "XREAD":
            peeked = list(command)
            if "BLOCK" in peeked:
                at = peeked.index("BLOCK")
                del peeked[at : at + 2]
            return self._know(name, str(command[-2]), lambda: self.server.call(peeked)[0] is not None)
        if command[0] == "EVAL" and command[1] == _ACQUIRE:
            # Asking while it is taken changes nothing, and is the same as asking later.
            lease, token = str(command[3]), str(command[4]).encode()
            return self._know(name, lease, lambda: self.server.call(("GET", lease))[0] in (None, token))
        return True

    def _know(self, name: str, key: str, ask: Callable[[], bool]) -> bool:
        """Ask the server only if the key has changed since, or the question has."""
        state = (self._changes.get(key, 0), tuple(self._find_busy(name).units[0][0]))
        known = self._ready.get(name)
        if known is None or known[0] != state:
            known = self._ready[name] = (state, ask())
        return known[1]

    def _run_to_rest(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = self.spawn(coroutine)
        self._come_to_rest()
        assert task.done()

    def _come_to_rest(self) -> None:
        self.settle()
        while enabled := self.list_enabled():
            self.take_step(enabled[0])

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(str(context))


def _split(commands: Any) -> Iterator[list[Command]]:
    """What the server executes as one: each command, or all from MULTI to EXEC."""
    unit: list[Command] = []
    for command in commands:
        unit.append(command)
        if unit[0][0] != "MULTI" or command[0] == "EXEC":
            yield unit
            unit = []
    assert not unit


def _keys_of(command: Command) -> tuple[list[str], bool]:
    name = str(command[0])
    if name in ("MULTI", "EXEC"):
        return [], False
    if name == "EVAL":
        return [str(key) for key in command[3 : 3 + int(command[2])]], True
    if name == "XREAD":
        return [str(command[-2])], False
    if name == "XINFO":
        return [str(command[2])], False
    assert name in _READS or name in {"SET", "SADD", "SREM", "DEL", "HSET", "XADD", "XTRIM", "PEXPIRE"}, name
    return [str(command[1])], name not in _READS
