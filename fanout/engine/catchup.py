"""Catching up: from a position to live, for many subscriptions at once. Knows neither Redis nor connections.

Whoever asks for positions or gives one does not become a member of its group at once, but a `Joining` here. A look at
the streams tells whether it can begin where it wants to; then it is acknowledged, and a round (`fanout.engine.rounds`)
takes it over the past up to the present, together with all others who are on the way.

Many at once: those who come while a round begins anew join it. A round that turns out long makes room for another one
beside it, up to `_MOST_ROUNDS`, so that those with a short way do not wait for those with a long one. So the past is
read a few times at most, however many resume.

Who does not read what was written to them is left standing where it is, and taken along by a later round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from fanout.engine.dispatch import Dispatcher
from fanout.engine.history import History
from fanout.engine.joining import Joining
from fanout.engine.rounds import Round
from fanout.errors import PositionExpired, Unavailable
from fanout.metrics import Metrics
from fanout.model import Event

logger = logging.getLogger("fanout.engine")

_MOST_ROUNDS = 4
_ADMITTED_PER_STEP = 200
_RETRY_S = 0.1
_LOOK_AT_STANDING_S = 0.1


class CatchUp:
    """All subscriptions of one gateway that are on their way to live.

    Args:
        history: the streams' past.
        dispatcher: delivers live events; `deliver` passes them on to it.
        metrics: counts what happens.
    """

    def __init__(self, history: History, dispatcher: Dispatcher, metrics: Metrics) -> None:
        self._history = history
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._arrivals: dict[Joining, None] = {}
        self._standing: dict[Joining, None] = {}
        self._rounds: dict[Round, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def deliver(self, stream: str, events: Sequence[Event]) -> None:
        """Deliver live events, and let rounds that are about to end have them. Never waits."""
        if self._rounds:
            for round_ in self._rounds:
                round_.take(stream, events)
        self._dispatcher.deliver(stream, events)

    def join(self, joining: Joining) -> None:
        """Begin to catch up. Never waits."""
        self._arrivals[joining] = None
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="catching up")

    def leave(self, joining: Joining) -> None:
        """Forget a subscription that was ended; nothing is called on it any more."""
        joining.is_over = True
        self._arrivals.pop(joining, None)
        self._standing.pop(joining, None)
        self._changed.set()

    def wake(self) -> None:
        """A client has read what was written."""
        self._changed.set()

    async def stop(self) -> None:
        """Give up everything."""
        tasks = [*self._rounds.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        """Admit whoever comes, and see that there is a round for them, as long as there is anybody."""
        while self._arrivals or self._standing or self._rounds:
            self._changed.clear()
            if self._arrivals:
                try:
                    await self._admit()
                except Unavailable:
                    await asyncio.sleep(_RETRY_S)
                    continue
                except Exception:  # our defect: as in `_run_round`
                    logger.exception("defect while looking where to begin")
                    self._miss([*self._arrivals, *self._standing])
                    self._arrivals.clear()
                    self._standing.clear()
                    continue
            if self._is_round_missing():
                round_ = Round(self._history, self._dispatcher, self._metrics, self._board, self._stand, self.wake)
                self._rounds[round_] = asyncio.create_task(self._run_round(round_), name="replay")
            try:
                # Those who stand tell when they can go on, but not if a buffer emptied before it was noticed as full.
                async with asyncio.timeout(_LOOK_AT_STANDING_S if self._standing else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _admit(self) -> None:
        arrivals = list(self._arrivals)
        look = await self._history.look([joining.after for joining in arrivals])
        for number, (joining, start) in enumerate(zip(arrivals, look.starts, strict=True), 1):
            if joining.is_over:
                continue
            del self._arrivals[joining]
            if isinstance(start, PositionExpired):
                joining.is_over = True
                joining.refuse(start)
                continue
            joining.places = start
            joining.ends = look.ends
            self._standing[joining] = None
            self._metrics.resumes += joining.after is not None
            joining.begin(self._history.write_token(start))
            if number % _ADMITTED_PER_STEP == 0:
                await asyncio.sleep(0)

    def _is_round_missing(self) -> bool:
        if len(self._rounds) >= _MOST_ROUNDS or not all(round_.is_long for round_ in self._rounds):
            return False
        return any(not joining.is_congested for joining in self._standing)

    def _board(self) -> list[Joining]:
        """Hand over all who can go on."""
        boarding = [joining for joining in self._standing if not joining.is_congested]
        for joining in boarding:
            del self._standing[joining]
        return boarding

    def _stand(self, joining: Joining) -> None:
        """Take back one whose client has to read first."""
        self._standing[joining] = None

    async def _run_round(self, round_: Round) -> None:
        try:
            await round_.run()
        except Exception:  # our defect: those whom it concerns are told, and nobody is left waiting
            logger.exception("defect while catching up")
            self._miss(list(round_.members))
        finally:
            del self._rounds[round_]
            self._changed.set()

    def _miss(self, joinings: list[Joining]) -> None:
        for joining in joinings:
            if not joining.is_over:  # one that is told may end others of the same client
                joining.is_over = True
                joining.miss("internal-error")
