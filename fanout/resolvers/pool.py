"""The processes that run resolvers, seen from the event loop: lanes, a watch on each, new ones for dead ones.

Knows lines and processes; no JavaScript and no field.

Calls wait in line and go to whichever process has least under way; two at most are under way in one, so that it need
not wait for us between them, and little is behind a call that takes long. A process that dies costs the call at its
head one error. Those behind it go to another.

Two lanes: modules that hit a limit within the last minute only go to the first process, which takes others' calls only
while none of theirs is there. So however often a hostile module is called, the rest finds the other processes free.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import orjson

from fanout.errors import Unavailable
from fanout.resolvers.sandbox import LimitExceeded, Limits
from fanout.resolvers.worker import READY

logger = logging.getLogger("fanout.resolvers")

_UNDER_WAY: Final = 2
_MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
_SUSPECT_SECONDS: Final = 60.0
_LONGEST_CALL_SECONDS: Final = 10.0
_LONGEST_START_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_END_SECONDS: Final = 5.0


class _Call:
    """One call that waits or is under way."""

    __slots__ = ("future", "line", "module")

    def __init__(self, module: str, line: bytes, future: asyncio.Future[dict[str, Any]]) -> None:
        self.module = module
        self.line = line
        self.future = future


class Pool:
    """Processes for the modules of one API.

    Args:
        bodies: function bodies by module name, see `fanout.resolvers.modules`.
        limits: of each call.
        processes: how many.
        max_waiting: more calls than this are refused.
    """

    def __init__(self, bodies: Mapping[str, str], limits: Limits, processes: int, max_waiting: int) -> None:
        self._greeting = (
            orjson.dumps(
                {
                    "limits": {
                        "time_ms": limits.time_ms,
                        "memory_bytes": limits.memory_bytes,
                        "stack_bytes": limits.stack_bytes,
                    },
                    "bodies": dict(bodies),
                }
            )
            + b"\n"
        )
        self._max_waiting = max_waiting
        self._waiting: deque[_Call] = deque()
        self._suspect_waiting: deque[_Call] = deque()
        self._waiting_bytes = 0
        self._suspects: dict[str, float] = {}  # module -> until when
        self._workers = [_Worker(self, number) for number in range(processes)]
        self._is_closing = False
        self._idle: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Start the processes on the running loop. Returns at once; calls wait until one is up (about 0.1 s)."""
        self._loop = asyncio.get_running_loop()
        for worker in self._workers:
            worker.start()

    async def call(self, module: str, handler: str, context: Mapping[str, Any]) -> dict[str, Any]:
        """Run one stage of a module; see `Sandbox.call`.

        Args:
            module: its name.
            handler: `request`, `response`, or `unit`.
            context: `ctx`, JSON.

        Returns:
            The envelope.

        Raises:
            LimitExceeded: `time`, `memory`, `stack`, or `process`: it died of something else.
            Unavailable: too many are waiting, no process can be started, or the pool is closed.
        """
        line = b"%b\t%b\t%b\n" % (module.encode(), handler.encode(), orjson.dumps(context))
        if self._is_closing:
            raise Unavailable("resolvers are being ended")
        waiting = len(self._waiting) + len(self._suspect_waiting)
        if waiting >= self._max_waiting or self._waiting_bytes + len(line) > _MAX_WAITING_BYTES:
            raise Unavailable("too many resolver calls are waiting")
        call = _Call(module, line, self._loop.create_future())
        self._waiting_bytes += len(line)
        (self._suspect_waiting if self._is_suspect(module) else self._waiting).append(call)
        self.dispatch()
        return await call.future

    async def close(self) -> None:
        """Let all calls end, those that wait too; then end the processes."""
        self._is_closing = True
        if self._is_busy:
            self._idle = self._loop.create_future()
            await self._idle
        await asyncio.gather(*(worker.end() for worker in self._workers))

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    # For workers.

    @property
    def greeting(self) -> bytes:
        """What a process is told first."""
        return self._greeting

    def dispatch(self) -> None:
        """Give waiting calls to processes that have room for them."""
        first = self._workers[0]
        while self._suspect_waiting and first.has_room:
            self._send(first, self._suspect_waiting.popleft())
        is_first_theirs = bool(self._suspect_waiting) or any(self._is_suspect(call.module) for call in first.under_way)
        while self._waiting:
            best: _Worker | None = None
            for worker in self._workers:
                if not worker.has_room or (worker is first and is_first_theirs and len(self._workers) > 1):
                    continue
                # With equal load the first one stays free for its lane.
                if best is None or len(worker.under_way) <= len(best.under_way):
                    best = worker
            if best is None:
                break
            self._send(best, self._waiting.popleft())
        if self._idle is not None and not self._idle.done() and not self._is_busy:
            self._idle.set_result(None)

    def suspect(self, module: str) -> None:
        """Keep a module to the first process for a while: it hit a limit. Its waiting calls change lanes."""
        self._suspects[module] = self._loop.time() + _SUSPECT_SECONDS
        if any(call.module == module for call in self._waiting):
            calls, self._waiting = self._waiting, deque()
            for call in calls:
                (self._suspect_waiting if call.module == module else self._waiting).append(call)

    def put_back(self, calls: list[_Call]) -> None:
        """Calls that were behind one that ended its process: first in line again."""
        for call in reversed(calls):
            self._waiting_bytes += len(call.line)
            (self._suspect_waiting if self._is_suspect(call.module) else self._waiting).appendleft(call)

    def fail_waiting(self, why: str) -> None:
        """No process can be started: nobody waits for ever."""
        if any(worker.is_ready for worker in self._workers):
            return
        calls = [*self._waiting, *self._suspect_waiting]
        self._waiting.clear()
        self._suspect_waiting.clear()
        self._waiting_bytes = 0
        for call in calls:
            if not call.future.done():
                call.future.set_exception(Unavailable(why))
        self.dispatch()

    def _send(self, worker: _Worker, call: _Call) -> None:
        self._waiting_bytes -= len(call.line)
        if not call.future.done():
            worker.send(call)

    @property
    def _is_busy(self) -> bool:
        return bool(self._waiting or self._suspect_waiting) or any(worker.under_way for worker in self._workers)

    def _is_suspect(self, module: str) -> bool:
        until = self._suspects.get(module)
        if until is None:
            return False
        if until < self._loop.time():
            del self._suspects[module]
            return False
        return True


class _Worker(asyncio.Protocol):
    """One process, and those that take its place."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool = pool
        self._number = number
        self.under_way: deque[_Call] = deque()
        self.process: subprocess.Popen[bytes] | None = None
        self.is_ready = False
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._ending = asyncio.Event()
        self._pause_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._since = 0.0  # when the call at the head got there

    @property
    def has_room(self) -> bool:
        """Whether it may be given one more call."""
        return self.is_ready and len(self.under_way) < _UNDER_WAY

    def start(self) -> None:
        """Start a process in the background."""
        self._task = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pause_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._pause_s)
        if self._ending.is_set():
            return
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # In a thread: a process that holds many descriptors takes its time to make another.
                self.process = await asyncio.to_thread(_launch, theirs.fileno())
            self._rest = b""
            self._since = loop.time()
            self._transport, _ = await loop.create_unix_connection(lambda: self, sock=ours)
        except OSError as error:
            ours.close()
            self._fail_to_start(str(error))
            return
        self._transport.write(self._pool.greeting)
        if self._watch is None:
            self._watch = loop.call_later(_WATCH_SECONDS, self._look)

    def send(self, call: _Call) -> None:
        """Give it a call, behind those under way."""
        assert self._transport is not None
        if not self.under_way:
            self._since = self._pool._loop.time()
        self.under_way.append(call)
        self._transport.write(call.line)

    async def end(self) -> None:
        """End the process; it has nothing under way."""
        self._ending.set()
        if self._task is not None:
            await self._task
        if self._transport is not None:
            self._transport.close()
        if self._watch is not None:
            self._watch.cancel()
        process = self.process
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
        self.process = None

    # asyncio.Protocol.

    def data_received(self, data: bytes) -> None:
        """Answers, in order."""
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            if self.is_ready:
                self._take(line)
            elif line + b"\n" == READY:
                self.is_ready = True
                self._pause_s = 0.0
        self._pool.dispatch()

    def connection_lost(self, error: Exception | None) -> None:
        """The process is dead, or ends."""
        self._transport = None
        was_ready, self.is_ready = self.is_ready, False
        if self._ending.is_set():
            return
        process = self.process
        assert process is not None
        process.kill()  # it has closed its input and output, and may not stay
        code = process.wait()
        self.process = None
        calls = list(self.under_way)
        self.under_way.clear()
        if calls:
            head = calls.pop(0)
            which = "time" if code == -signal.SIGPROF else "process"
            self._pool.suspect(head.module)
            if not head.future.done():
                head.future.set_exception(LimitExceeded(which))
            if which != "time":
                logger.error("the process that ran %s ended with %s; there is a new one", head.module, code)
            self._pool.put_back(calls)
        if not was_ready:
            self._fail_to_start(f"it ended with {code}")
        else:
            self.start()
        self._pool.dispatch()

    def _take(self, line: bytes) -> None:
        call = self.under_way.popleft()
        self._since = self._pool._loop.time()
        kind, text = line[:1], line[1:]
        if kind == b"l":
            self._pool.suspect(call.module)
        if call.future.done():
            return
        if kind == b"v":
            call.future.set_result(orjson.loads(text))
        elif kind == b"l":
            call.future.set_exception(LimitExceeded(text.decode()))
        else:
            call.future.set_result({"failure": text.decode(), "stack": ""})

    def _fail_to_start(self, why: str) -> None:
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        logger.error("a process for resolvers did not start: %s; the next try is in %.1f s", why, self._pause_s)
        self._pool.fail_waiting("resolvers cannot be run now")
        self.start()

    def _look(self) -> None:
        """End a process whose call takes too long by the clock on the wall, or that does not start."""
        loop = self._pool._loop
        self._watch = loop.call_later(_WATCH_SECONDS, self._look)
        longest = _LONGEST_CALL_SECONDS if self.is_ready else _LONGEST_START_SECONDS
        is_waited_for = bool(self.under_way) or not self.is_ready
        if self.process is not None and is_waited_for and loop.time() - self._since > longest:
            self.process.kill()


def _launch(channel: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # no shell, and only arguments of our own
        [sys.executable, "-I", "-m", "fanout.resolvers.worker"],
        stdin=channel,
        stdout=channel,
        env={},
        cwd="/",
        # A terminal's Ctrl-C reaches the gateway only, which lets calls end. The process closes what it inherits.
        start_new_session=True,
        close_fds=False,
    )
