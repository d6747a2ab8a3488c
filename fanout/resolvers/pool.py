"""The processes that run resolvers, seen from the event loop: who waits, and who is given which call. Knows no process.

Each module has its line; modules take turns. Three rules keep one module from holding up the others, whatever it does:

- There is one process more than is set, and no module is under way in all of them.
- A module that hit a limit within the last minute goes to one process only, the lane, and as long as there are calls
  of such modules nobody else's go there. The lane is where the first of them hit its limit: if that ended the process,
  they wait for the next one, and the others need not.
- A call that ends its process gets an error for it; the one behind it, if any, goes to another process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import orjson

from fanout.errors import Unavailable
from fanout.resolvers.child import Call, Child
from fanout.resolvers.sandbox import Limits

_SUSPECT_SECONDS: Final = 60.0
_WATCH_SECONDS: Final = 1.0


class Pool:
    """Processes for the modules of one API.

    Args:
        bodies: function bodies by module name, see `fanout.resolvers.rewriter`.
        limits: of each call.
        processes: how many work at once; there is one more.
        max_waiting: more calls than this are refused.
    """

    def __init__(self, bodies: Mapping[str, str], limits: Limits, processes: int, max_waiting: int) -> None:
        self._greeting = orjson.dumps({"limits": asdict(limits), "bodies": dict(bodies)}) + b"\n"
        self._max_waiting = max_waiting
        self._most_per_module = processes
        self._lines: dict[str, deque[Call]] = {}  # by module, none empty
        self._turns: deque[str] = deque()  # the same modules
        self._waiting = 0
        self._suspects: dict[str, float] = {}  # module -> until when
        self._children = [Child(self) for _ in range(processes + 1)]
        self._lane = self._children[0]
        self._watch: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._idle: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Start the processes on the running loop. Returns at once; calls wait until one is up (about 0.1 s)."""
        self._loop = asyncio.get_running_loop()
        for child in self._children:
            child.start()
        self._look()

    async def call(self, module: str, handler: str, context: Mapping[str, Any]) -> dict[str, Any]:
        """Run one stage of a module; see `Sandbox.call`. About 50 us of this process, no task.

        Args:
            module: its name.
            handler: `request`, `response`, or `unit`.
            context: `ctx`, JSON; written when it is the call's turn, until when it may not change.

        Returns:
            The envelope.

        Raises:
            ResourceLimitExceeded: it took too much; a process that died of something else is a failure in the envelope.
            Unavailable: too many are waiting, no process can be started, or the pool is closed.
            orjson.JSONEncodeError: `context` is no JSON.
        """
        if self._is_closing:
            raise Unavailable("resolvers are being ended")
        if self._waiting >= self._max_waiting:
            raise Unavailable("too many resolver calls are waiting")
        call = Call(module, partial(_write_line, module, handler, context), self._loop.create_future())
        self._waiting += 1
        if module in self._lines:
            self._lines[module].append(call)
        else:
            self._lines[module] = deque((call,))
            self._turns.append(module)
        self.dispatch()
        return await call.future

    async def close(self) -> None:
        """Let all calls end, those that wait too; then end the processes."""
        self._is_closing = True
        if self._is_busy:
            self._idle = self._loop.create_future()
            await self._idle
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(child.end() for child in self._children))

    @property
    def pids(self) -> list[int]:
        """The processes that there are now."""
        return [child.pid for child in self._children if child.pid is not None]

    # What a child wants of its owner.

    @property
    def greeting(self) -> bytes:
        """What a process is told first."""
        return self._greeting

    def dispatch(self) -> None:
        """Give waiting calls to processes that have room for them."""
        turns = self._turns
        blocked = 0
        free = [child for child in self._children if child.has_room]
        while free and blocked < len(turns):
            module = turns.popleft()
            child = self._choose(module, free)
            if child is None:
                turns.append(module)
                blocked += 1
                continue
            blocked = 0
            line = self._lines[module]
            call = line.popleft()
            if line:
                turns.append(module)
            else:
                del self._lines[module]
            self._waiting -= 1
            if not call.future.done():
                child.send(call)
                if not child.has_room:
                    free.remove(child)
        if self._idle is not None and not self._idle.done() and not self._is_busy:
            self._idle.set_result(None)

    def note_limit(self, module: str, child: Child) -> None:
        """Keep a module to the lane for a while."""
        if not self._has_lane():
            self._lane = child
        self._suspects[module] = self._loop.time() + _SUSPECT_SECONDS

    def put_back(self, calls: Iterable[Call]) -> None:
        """The first in their lines again; they were there before."""
        for call in reversed(list(calls)):
            self._waiting += 1
            if call.module in self._lines:
                self._turns.remove(call.module)
            else:
                self._lines[call.module] = deque()
            self._turns.appendleft(call.module)
            self._lines[call.module].appendleft(call)

    def note_failed_start(self) -> None:
        """Nobody waits for what may never come: without any process all calls are told so."""
        if any(child.is_ready for child in self._children):
            return
        lines = list(self._lines.values())
        self._lines.clear()
        self._turns.clear()
        self._waiting = 0
        for call in (call for line in lines for call in line):
            if not call.future.done():
                call.future.set_exception(Unavailable("resolvers cannot be run now"))
        self.dispatch()

    def _choose(self, module: str, free: list[Child]) -> Child | None:
        """Whom a module's next call goes to; None: it has to wait."""
        if self._is_suspect(module):
            return self._lane if self._lane in free else None
        excluded = self._lane if self._has_lane() else None
        having = [child for child in self._children if any(call.module == module for call in child.under_way)]
        best: Child | None = None
        for child in free:
            if child is excluded or (len(having) >= self._most_per_module and child not in having):
                continue
            if best is None or (not child.is_warm, len(child.under_way)) < (not best.is_warm, len(best.under_way)):
                best = child
        return best

    def _has_lane(self) -> bool:
        """Whether calls of suspects wait or are under way, so that nobody else's may go there."""
        suspects = self._suspects
        if not suspects:
            return False
        return any(call.module in suspects for call in self._lane.under_way) or not suspects.keys().isdisjoint(
            self._lines
        )

    def _is_suspect(self, module: str) -> bool:
        until = self._suspects.get(module)
        if until is None:
            return False
        if until < self._loop.time():
            del self._suspects[module]
            return False
        return True

    @property
    def _is_busy(self) -> bool:
        return bool(self._waiting) or any(child.under_way for child in self._children)

    def _look(self) -> None:
        self._watch = self._loop.call_later(_WATCH_SECONDS, self._look)
        for child in self._children:
            child.end_if_stuck()


def _write_line(module: str, handler: str, context: Mapping[str, Any]) -> bytes:
    return b"%b\t%b\t%b\n" % (module.encode(), handler.encode(), orjson.dumps(context))
