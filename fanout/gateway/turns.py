"""How the messages of all clients share the event loop. Knows no message and no socket.

A message can take up to 0.1 s (the validation of a large document), and a client may send hundreds at once. So the
messages that are handled in one turn of the loop have a budget of time; when it is used up, what is left waits in one
queue, from which every client's next message is taken in rotation, a budget's worth per turn, while the sockets of
those who wait are not read. Deliveries and Redis have their turns in between. No task or timer per connection.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

Work = TypeVar("Work")
_Contra = TypeVar("_Contra", contravariant=True)


class Worker(Protocol[_Contra]):
    """What is needed of a connection."""

    def handle(self, work: _Contra) -> None:
        """Do one piece of work, or nothing if the connection has ended. Raises nothing."""
        ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Turns(Generic[Work]):
    """The work that connections have brought in.

    Args:
        budget_ms: time for work in one turn of the event loop. One piece is done in any case.
        clock: seconds, as `time.perf_counter`.
    """

    def __init__(self, budget_ms: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._budget_seconds = budget_ms / 1000
        self._clock = clock
        self._ends_at: float | None = None
        self._waiting: dict[Worker[Work], deque[Work]] = {}

    @property
    def is_over(self) -> bool:
        """Whether the budget of this turn is used up."""
        return self._ends_at is not None and self._clock() >= self._ends_at

    def __len__(self) -> int:
        """How many connections wait."""
        return len(self._waiting)

    def do(self, worker: Worker[Work], work: Work) -> None:
        """Let the connection do this now, or in a later turn, after what it has brought before."""
        waiting = self._waiting.get(worker) if self._waiting else None
        if waiting is not None:
            waiting.append(work)
            return
        if self._ends_at is None:
            self._begin()
        elif self._clock() >= self._ends_at:
            self._wait(worker, work)
            return
        worker.handle(work)

    def put_back(self, worker: Worker[Work], work: Work) -> None:
        """Called while the connection does a piece of work: do the rest of it, `work`, next."""
        waiting = self._waiting.get(worker)
        if waiting is None:
            self._wait(worker, work)
        else:
            waiting.appendleft(work)

    def drop(self, worker: Worker[Work]) -> None:
        """The connection has ended; what it has brought is not done."""
        if self._waiting and self._waiting.pop(worker, None) is not None:
            worker.resume_reading()

    def _wait(self, worker: Worker[Work], work: Work) -> None:
        self._waiting[worker] = deque((work,))
        worker.pause_reading()

    def _begin(self) -> None:
        self._ends_at = self._clock() + self._budget_seconds
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """The next turn of the event loop: a fresh budget, first for those who wait."""
        self._ends_at = None
        if not self._waiting:
            return
        self._begin()
        while self._waiting:
            worker = next(iter(self._waiting))
            waiting = self._waiting.pop(worker)
            self._waiting[worker] = waiting  # from now on behind all others
            worker.handle(waiting.popleft())
            if not waiting and self._waiting.get(worker) is waiting:
                del self._waiting[worker]
                worker.resume_reading()
            if self.is_over:
                return
