"""One process that runs resolvers, and those that take its place when it dies. Knows lines and processes, no lanes.

A socket pair is its standard input and output: it ends when ours is closed, also by our end without a word. It is in a
session of its own, so that a terminal's Ctrl-C reaches us only and calls can end.
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
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import orjson

from fanout.log_limit import LogLimit, tell_held_back
from fanout.resolvers import worker
from fanout.resolvers.sandbox import Resource, ResourceLimitExceeded

logger = logging.getLogger("fanout.resolvers")

_UNDER_WAY: Final = 2
_LONGEST_CALL_SECONDS: Final = 10.0
_LONGEST_START_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
_END_SECONDS: Final = 5.0


class Call:
    """One call that waits or is under way.

    Args:
        module: whose.
        make_line: what the process is told; made when it is, since calls of one request hold much in common.
        future: gets the envelope, or the error.
    """

    __slots__ = ("future", "make_line", "module")

    def __init__(self, module: str, make_line: Callable[[], bytes], future: asyncio.Future[dict[str, Any]]) -> None:
        self.module = module
        self.make_line = make_line
        self.future = future


class Owner(Protocol):
    """Whoever gives it calls."""

    @property
    def greeting(self) -> bytes:
        """What a process is told first: its modules and limits, one line."""
        ...

    def dispatch(self) -> None:
        """There may be room for more calls."""
        ...

    def note_limit(self, module: str, child: Child) -> None:
        """A call of the module hit a limit, or ended the process."""
        ...

    def put_back(self, calls: Iterable[Call]) -> None:
        """Calls, in order, that were behind one that ended the process."""
        ...

    def note_failed_start(self) -> None:
        """A process did not start; the next try is later."""
        ...


class Child(asyncio.Protocol):
    """One process and its successors.

    Args:
        owner: whose calls it runs.
        command: how it is started.
    """

    def __init__(self, owner: Owner, command: list[str] | None = None) -> None:
        self._owner = owner
        self._command = command or [sys.executable, "-I", "-m", "fanout.resolvers.worker"]
        self._process: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._pause_s = 0.0
        self._since = 0.0  # when the call at the head got there, or when the process was started
        self._rest: list[bytes] = []
        self._is_stuck = False  # whether we end it, as nothing is heard of it
        self._log_limit = LogLimit()
        self.under_way: deque[Call] = deque()
        """In the order in which they will be answered."""
        self.is_ready = False
        """Whether it takes calls."""
        self.is_warm = False
        """Whether it has a context for each module: the first call of one waits for it, 5 ms or more."""

    @property
    def has_room(self) -> bool:
        """Whether it may be given one more call: two, so that it need not wait for us between them."""
        return self.is_ready and len(self.under_way) < _UNDER_WAY

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a process in the background."""
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._start())

    def send(self, call: Call) -> None:
        """Give it a call; it has room."""
        assert self._transport is not None
        try:
            line = call.make_line()
        except orjson.JSONEncodeError as error:
            call.future.set_exception(error)
            return
        if not self.under_way:
            self._since = self._loop.time()
        self.under_way.append(call)
        self._transport.write(line)

    def end_if_stuck(self) -> None:
        """Kill a process whose call takes too long by the clock on the wall, or that does not start."""
        longest = _LONGEST_CALL_SECONDS if self.is_ready else _LONGEST_START_SECONDS
        is_waited_for = bool(self.under_way) or not self.is_ready
        if self._process is not None and is_waited_for and self._loop.time() - self._since > longest:
            self._is_stuck = True
            self._process.kill()

    async def end(self) -> None:
        """End the process, which has nothing under way, and wait until it is gone."""
        self._ending.set()
        if self._task is not None:
            await self._task
        if self._transport is not None:
            self._transport.close()
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(_reap, process)

    async def _start(self) -> None:
        if self._pause_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._pause_s)
        if self._ending.is_set():
            return
        self._since = self._loop.time()
        try:
            transport = await self._connect()
        except (OSError, RuntimeError) as error:  # no descriptors, processes or threads left
            self._fail_to_start(str(error))
            return
        self._transport = transport
        self._rest = []
        self._is_stuck = False
        transport.write(self._owner.greeting)

    async def _connect(self) -> asyncio.Transport:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # In a thread: a process that holds many descriptors takes its time to make another.
                self._process = await asyncio.to_thread(_launch, self._command, theirs.fileno())
            transport, _ = await self._loop.create_unix_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            raise
        return transport

    # asyncio.Protocol.

    def data_received(self, data: bytes) -> None:
        """Answers, in order."""
        *lines, rest = data.split(b"\n")
        if lines and self._rest:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest = []
        if rest:
            self._rest.append(rest)
        for line in lines:
            match line + b"\n":
                case worker.READY:
                    self.is_ready = True
                    self._pause_s = 0.0
                case worker.WARM:
                    self.is_warm = True
                case _ if self.under_way:
                    self._take(line)
        if lines:
            self._owner.dispatch()

    def connection_lost(self, error: Exception | None) -> None:
        """The process is dead, or about to be."""
        self._transport = None
        was_ready, self.is_ready, self.is_warm = self.is_ready, False, False
        process, self._process = self._process, None
        if self._ending.is_set() or process is None:
            self._process = process
            return
        process.kill()  # it has closed its input and output: it is none any more, if it still is
        code = process.wait()
        calls = list(self.under_way)
        self.under_way.clear()
        if calls:
            self._fail_head(calls.pop(0), code)
            self._owner.put_back(calls)
            self.start()
        elif was_ready and code == -signal.SIGKILL:
            self._log("a process for resolvers was killed; there is a new one")
            self.start()
        else:
            self._fail_to_start(f"it ended with {code}")
        self._owner.dispatch()

    def _fail_head(self, head: Call, code: int) -> None:
        took_too_long = self._is_stuck or code == -signal.SIGPROF
        if not took_too_long:
            self._log(f"the process that ran {head.module} ended with {code}; there is a new one")
        if not head.future.done():
            if took_too_long:
                head.future.set_exception(ResourceLimitExceeded(Resource.TIME))
            else:
                head.future.set_result(_tell_failure(f"its process ended with {code}"))
        self._owner.note_limit(head.module, self)

    def _take(self, line: bytes) -> None:
        call = self.under_way.popleft()
        self._since = self._loop.time()
        kind, text = line[:1], line[1:]
        if kind == b"l":
            self._owner.note_limit(call.module, self)
        if call.future.done():
            return
        if kind == b"v":
            call.future.set_result(_read(text))
        elif kind == b"l":
            call.future.set_exception(ResourceLimitExceeded(Resource(text.decode())))
        else:
            call.future.set_result(_tell_failure(text.decode()))

    def _fail_to_start(self, why: str) -> None:
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        self._log(f"a process for resolvers does not start: {why}; the next try is in {self._pause_s:.1f} s")
        self._owner.note_failed_start()
        self.start()

    def _log(self, text: str) -> None:
        held_back = self._log_limit.admit()
        if held_back is not None:
            logger.error("%s%s", text, tell_held_back(held_back))


def _read(text: bytes) -> dict[str, Any]:
    try:
        return orjson.loads(text)  # type: ignore[no-any-return]
    except orjson.JSONDecodeError as error:
        # JSON of QuickJS's own: it is right, but nests deeper than is read.
        return _tell_failure(f"what the resolver gave cannot be read: {error.msg}")


def _tell_failure(what: str) -> dict[str, Any]:
    """The envelope of a call that came to nothing."""
    return {"failure": what, "stack": ""}


def _launch(command: list[str], channel: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # no shell, and only arguments of our own
        command,
        stdin=channel,
        stdout=channel,
        env={},
        cwd="/",
        start_new_session=True,
        # The process closes what it inherits itself: here that would take as long as there are connections.
        close_fds=False,
    )


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
