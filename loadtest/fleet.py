"""Swarms in as many processes as the descriptor limit asks for, told what to do over pipes. Knows no Redis.

Each process keeps the books of its own connections; the parent knows what was published, so it can say how many
deliveries are due where. How far everybody is can be read at any time from shared memory, without asking.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import multiprocessing
import os
import resource
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from loadtest.marks import count_members
from loadtest.swarm import Crowd, Swarm, SwarmError

_DESCRIPTORS_BESIDE_CONNECTIONS = 200
_SLOTS = 4  # of 8 bytes in shared memory for each process: live, accounted, keep-alives, bytes
_ANSWER_TIMEOUT_S = 30.0
_RECEIPT_TIMEOUT_S = 30.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Books:
    """What a fleet has received, reconciled with what was published."""

    expected: int
    receipts: int
    bytes_received: int
    faults: dict[str, int]
    examples: list[str]

    @property
    def is_good(self) -> bool:
        """Every subscriber got what was due to it: once, in order, nothing else."""
        return not self.faults and self.receipts == self.expected


class Fleet:
    """The processes. Use as a context: leaving it ends them.

    Args:
        crowd: what to connect, all processes together.
        processes: how many; None for as many as the descriptor limit asks for.

    Raises:
        SwarmError: one connection each would be more than the descriptor limit allows.
    """

    def __init__(self, crowd: Crowd, processes: int | None = None) -> None:
        limit = raise_descriptor_limit() - _DESCRIPTORS_BESIDE_CONNECTIONS
        count = processes or -(-crowd.count // limit)
        if crowd.count > count * limit:
            raise SwarmError(f"{crowd.count} connections do not fit {count} processes of {limit} descriptors")
        self.crowd = crowd
        self.published: Counter[int] = Counter()
        self.expected = 0
        bounds = [crowd.count * number // count for number in range(count + 1)]
        self._bounds = bounds
        self._due = [0] * count
        self._shared = mmap.mmap(-1, _SLOTS * 8 * count)
        self._slots = memoryview(self._shared).cast("Q")
        self._pipes: list[Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []
        context = multiprocessing.get_context("fork")
        # Children share the parent's pages; a collection would touch, and so copy, every one of them.
        gc.collect()
        gc.freeze()
        sys.stdout.flush()
        sys.stderr.flush()
        for number in range(count):
            ours, theirs = context.Pipe()
            slots = self._slots[_SLOTS * number : _SLOTS * (number + 1)]
            arguments = (
                crowd,
                bounds[number],
                bounds[number + 1] - bounds[number],
                theirs,
                slots,
                [*self._pipes, ours],
            )
            process = context.Process(target=_serve, args=arguments, name=f"swarm-{number}", daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        gc.unfreeze()

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exception: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_ANSWER_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()

    @property
    def pids(self) -> list[int]:
        """Process ids, for measuring."""
        return [process.pid for process in self._processes if process.pid is not None]

    @property
    def live(self) -> int:
        """Connections with all their subscriptions acknowledged."""
        return sum(self._slots[0::_SLOTS])

    @property
    def accounted(self) -> int:
        """Deliveries that came or were found missing."""
        return sum(self._slots[1::_SLOTS])

    @property
    def keep_alives(self) -> int:
        """`ka` messages received."""
        return sum(self._slots[2::_SLOTS])

    @property
    def bytes_received(self) -> int:
        """Bytes of events received by live connections."""
        return sum(self._slots[3::_SLOTS])

    def connect(
        self, timeout_s: float = 120.0, progress: Progress | None = None, *, guard: Progress | None = None
    ) -> float:
        """Connect and subscribe everybody; returns the seconds until the last `start_ack`.

        Args:
            timeout_s: until it has failed.
            progress: told twice a second how far it is.
            guard: called as often; may raise to give up.

        Raises:
            SwarmError: not all are live in time, or one was refused or closed.
        """
        began = time.monotonic()
        for pipe in self._pipes:
            pipe.send(("connect", float(timeout_s)))
        try:
            self._await_connected(progress, guard)
        except BaseException:
            # Whoever gives up wants no more connections.
            for pipe in self._pipes:
                with contextlib.suppress(OSError):
                    pipe.send(("halt",))
            raise
        return time.monotonic() - began

    def _await_connected(self, progress: Progress | None, guard: Progress | None) -> None:
        waiting = set(self._pipes)
        while waiting:
            ready = wait(list(waiting), 0.5)
            for pipe in [pipe for pipe in waiting if pipe in ready]:
                self._receive(pipe)
                waiting.discard(pipe)
            text = f"{self.live:,} of {self.crowd.count:,} connected"
            if progress is not None:
                progress(text)
            if guard is not None:
                guard(text)

    def note_published(self, room: int, events: int = 1) -> int:
        """Enter events that are about to be published; returns how many deliveries of them are due."""
        crowd = self.crowd
        self.published[room] += events
        due = 0
        for number in range(len(self._pipes)):
            first = self._bounds[number] * crowd.per_connection
            after = self._bounds[number + 1] * crowd.per_connection
            share = events * count_members(room, crowd.rooms, first, after)
            self._due[number] += share
            due += share
        self.expected += due
        return due

    @property
    def is_behind(self) -> bool:
        """Something that is due has neither come nor been found missing."""
        return self.accounted < self.expected

    def await_receipts(self, timeout_s: float = _RECEIPT_TIMEOUT_S) -> int:
        """Wait until what is due has come or `timeout_s` are over; returns when the last came, in monotonic ns."""
        for pipe, due in zip(self._pipes, self._due, strict=True):
            pipe.send(("await", due, float(timeout_s)))
        return max(int(self._receive(pipe, timeout_s)) for pipe in self._pipes)

    def keep_latencies(self) -> None:
        """Keep the time from each event's intended publication to its receipt from now on."""
        self._ask("latencies")

    def take_latencies(self) -> array[int]:
        """What was kept, in ns and no particular order; keeps no more from now on."""
        taken = array("q")
        for part in self._ask("take-latencies"):
            taken.frombytes(part)
        return taken

    def reconcile(self, quiet_s: float = 0.5) -> Books:
        """Wait for strays, book what is missing, and return the books."""
        answers = self._ask("reconcile", dict(self.published), float(quiet_s))
        faults: Counter[str] = Counter()
        for _, _, part, _ in answers:
            faults.update(part)
        return Books(
            expected=self.expected,
            receipts=sum(receipts for receipts, _, _, _ in answers),
            bytes_received=sum(count for _, count, _, _ in answers),
            faults=dict(faults),
            examples=[example for _, _, _, examples in answers for example in examples][:5],
        )

    def _ask(self, *question: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send(question)
        return [self._receive(pipe) for pipe in self._pipes]

    def _receive(self, pipe: Connection, patience_s: float = 0.0) -> Any:
        try:
            if not pipe.poll(_ANSWER_TIMEOUT_S + patience_s):
                raise SwarmError("a swarm process does not answer")
            answer = pipe.recv()
        except (EOFError, ConnectionError):
            raise SwarmError("a swarm process has ended") from None
        if isinstance(answer, SwarmError):
            raise answer
        return answer


def raise_descriptor_limit() -> int:
    """Raise this process's limit of file descriptors as far as it goes; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1_000_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class _Member:
    """One process: a swarm between its sockets and its parent's pipe."""

    def __init__(self, swarm: Swarm, pipe: Connection, slots: memoryview) -> None:
        self._swarm = swarm
        self._pipe = pipe
        self._slots = slots
        self._connect_deadline: float | None = None
        self._due: int | None = None
        self._await_deadline = 0.0
        self._last_accounted = 0
        self._last_ns = 0
        self._is_ending = False
        swarm.watch(pipe.fileno(), self._obey)

    def run(self) -> None:
        swarm, slots = self._swarm, self._slots
        while not self._is_ending:
            swarm.poll(1.0 if self._due is None else 0.1)
            slots[0], slots[1], slots[2], slots[3] = (
                swarm.live,
                swarm.accounted,
                swarm.keep_alives,
                swarm.bytes_received,
            )
            if swarm.accounted != self._last_accounted:
                self._last_accounted = swarm.accounted
                self._last_ns = time.monotonic_ns()
            if self._connect_deadline is not None:
                self._go_on_connecting(self._connect_deadline)
            if self._due is not None and (swarm.accounted >= self._due or time.monotonic() > self._await_deadline):
                self._due = None
                self._pipe.send(self._last_ns)

    def _obey(self) -> None:
        swarm = self._swarm
        try:
            command = self._pipe.recv()
        except (EOFError, ConnectionResetError):  # the latter where the parent left an answer unread
            self._is_ending = True
            return
        match command:
            case ("connect", float(timeout_s)):
                self._connect_deadline = time.monotonic() + timeout_s
            case ("halt",):
                self._connect_deadline = None
            case ("await", int(due), float(timeout_s)):
                self._due, self._await_deadline = due, time.monotonic() + timeout_s
            case ("latencies",):
                swarm.keep_latencies()
                self._pipe.send(None)
            case ("take-latencies",):
                self._pipe.send(swarm.take_latencies().tobytes())
            case ("reconcile", dict(published), float(quiet_s)):
                swarm.settle(quiet_s)
                swarm.reconcile(published)
                self._pipe.send((swarm.receipts, swarm.bytes_received, dict(swarm.faults), swarm.examples))
            case _:
                raise AssertionError(f"unknown command {command!r}")

    def _go_on_connecting(self, deadline: float) -> None:
        try:
            is_done = self._swarm.open_more()
            if not is_done and time.monotonic() > deadline:
                raise SwarmError(self._swarm.describe_state())
        except SwarmError as error:
            self._connect_deadline = None
            self._pipe.send(error)
        else:
            if is_done:
                self._connect_deadline = None
                self._pipe.send(None)


def _serve(
    crowd: Crowd, first: int, count: int, pipe: Connection, slots: memoryview, foreign: list[Connection]
) -> None:
    # With the parent's ends of the pipes closed here, its end is seen as the end of ours, however it comes.
    for other in foreign:
        other.close()
    try:
        _Member(Swarm(crowd, first, count), pipe, slots).run()
    except KeyboardInterrupt:
        pass
    # Not `swarm.close()`: the kernel closes thousands of sockets faster than we do.
    os._exit(0)
