"""A round: takes subscriptions from their places over the past to the present, and makes them live. The seam.

It goes in turns. A turn reads each stream from the lowest place of anybody up to a *target*, and each subscription
gets what comes after its own place; those who are at the target of every stream then become live. Why nobody gets an
event twice, misses one or gets it too early, at whatever moment anything happens:

- The target is what the gateway has taken at one step of the event loop (`History.taken`), and in the same step the
  *tap* is opened, which notes every event that the gateway takes from then on. An event is either at or below the
  target, and then it is read from the stream; or above, and then it comes through the tap. Never both: what is read
  ends at the target. Never neither: see the next two.
- From the stream: a read begins with the entry where the one before ended, and fails if that is gone (`History.read`).
- From the tap: the gateway is promised every event that was published after the subscription's buckets were
  registered. The streams' `ends` were seen after that; a subscription becomes live only when the target is at or above
  them. So any event above the target was promised, comes through the intake in order, and is in the tap.
- In one step of the event loop, without waiting: what the tap holds is written, and the subscription becomes a member
  of its group. An event taken before that step is in the tap; one taken after it is delivered live.
- If the tap overflows, nobody becomes live in this turn. The next one is shorter: it begins at this one's target.
- A position in a payload tells the event's own place, and for every other stream the place where the subscription is,
  which is the target of streams that this turn has read already.

Bounds: one chunk of entries per stream read, the tap, and for each client one batch beyond what makes it congested.
Between batches, and after every few hundred writes, the event loop goes on, so that live events are not held up. An
event is matched and encoded once for all who get it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fanout.engine.cohorts import Cohorts
from fanout.engine.dispatch import Dispatcher
from fanout.engine.history import Chunk, History, HistoryGone, Place, Places, find_place
from fanout.engine.joining import Joining
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import Event

# What one step of the event loop does at most, beside one event for all who get it.
_BATCH_EVENTS = 32
_BATCH_BYTES = 64 * 1024
_LIVE_PER_STEP = 100

_MOST_TAPPED_EVENTS = 1024
_MOST_TAPPED_BYTES = 1024 * 1024
_LONG_CHUNKS = 8
_SHORTEST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.2


class Round:
    """One round; ends when everybody in it is live, over or has to be left standing.

    Args:
        history: the streams' past.
        dispatcher: makes payloads.
        metrics: counts what is written.
        board: hands over those who wait; called at the beginning of every turn.
        stand: takes back one whose client has to read first.
        changed: called when it turns out to be a long round.
    """

    def __init__(
        self,
        history: History,
        dispatcher: Dispatcher,
        metrics: Metrics,
        board: Callable[[], list[Joining]],
        stand: Callable[[Joining], None],
        changed: Callable[[], None],
    ) -> None:
        self._history = history
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._board = board
        self._stand = stand
        self._changed = changed
        self._tap: list[tuple[str, Sequence[Event]]] | None = None
        self._tapped_events = 0
        self._tapped_bytes = 0
        self._chunks = 0
        self.members: dict[Joining, None] = {}
        self.is_long = False
        """Whether those who come now should not wait for it."""

    def take(self, stream: str, events: Sequence[Event]) -> None:
        """Note events that the gateway has taken, before they are delivered. Never waits."""
        if self._tap is None:
            return
        self._tap.append((stream, events))
        self._tapped_events += len(events)
        self._tapped_bytes += sum(len(event.raw) for event in events)
        if self._tapped_events > _MOST_TAPPED_EVENTS or self._tapped_bytes > _MOST_TAPPED_BYTES:
            self._tap = None

    async def run(self) -> None:
        """Take everybody to the present, through any absence of Redis."""
        pause_s = _SHORTEST_PAUSE_S
        while True:
            self.members = {joining: None for joining in (*self.members, *self._board()) if not joining.is_over}
            if not self.members:
                return
            try:
                is_moved = await self._take_turn()
            except Unavailable:
                is_moved = False
            if is_moved:
                pause_s = _SHORTEST_PAUSE_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _take_turn(self) -> bool:
        """One turn. Returns whether anything was read or anybody became live."""
        taken = self._history.taken()
        if not all(_is_reached(joining.ends, taken) for joining in self.members):
            await self._history.advance()
        self._chunks = 0
        self._tapped_events = self._tapped_bytes = 0
        # These two in one step: see the top.
        self._tap = []
        target = self._history.taken()
        try:
            for stream in range(len(target)):
                await self._replay(stream, target[stream])
            is_anybody_live = await self._finish(target)
        finally:
            self._tap = None
            self.is_long = False
        return is_anybody_live or self._chunks > 0

    async def _replay(self, stream: int, target: Place) -> None:
        """Take everybody who is before the target of one stream there."""
        waiting = [joining for joining in self.members if not joining.is_over and joining.places[stream] < target]
        waiting.sort(key=lambda joining: joining.places[stream], reverse=True)
        aboard = self._build_cohorts(stream, target)
        try:
            while waiting or not aboard.is_deserted:
                if aboard.is_deserted:
                    aboard = self._build_cohorts(stream, waiting[-1].places[stream])
                try:
                    chunk = await self._history.read(stream, aboard.place, target)
                except HistoryGone:
                    while waiting and waiting[-1].places[stream] <= aboard.place:
                        aboard.add(waiting.pop())
                    self._lose(aboard)
                    aboard = self._build_cohorts(stream, target)
                    continue
                self._note_chunk()
                await self._give(chunk, waiting, aboard)
                aboard.advance(chunk.reached)
                if chunk.reached >= target:
                    return
        finally:
            aboard.settle()  # also when Redis is away: the next turn goes on from there

    async def _give(self, chunk: Chunk, waiting: list[Joining], aboard: Cohorts) -> None:
        """Give the events of a chunk to all whose place is before them."""
        stream = aboard.stream
        count = 0
        for place, event in chunk.events:
            while waiting and waiting[-1].places[stream] < place:
                aboard.add(waiting.pop())
            aboard.offer(place, event)
            count += 1
            if count >= _BATCH_EVENTS or aboard.pending_bytes >= _BATCH_BYTES:
                await self._flush(aboard)
                count = 0
        while waiting and waiting[-1].places[stream] <= chunk.reached:
            aboard.add(waiting.pop())
        await self._flush(aboard)

    async def _flush(self, aboard: Cohorts) -> None:
        """Write to everybody aboard, who belong to nobody else meanwhile, and let the event loop go on in between."""
        for _ in aboard.flush_in_steps():
            await asyncio.sleep(0)
        for joining, place, _ in aboard.take_left():
            joining.places = (*joining.places[: aboard.stream], place, *joining.places[aboard.stream + 1 :])
            self._leave(joining)
        await asyncio.sleep(0)

    async def _finish(self, target: Places) -> bool:
        """Make those live who are at the target of every stream."""
        ready = [joining for joining in self.members if joining.places == target and _is_reached(joining.ends, target)]
        is_anybody_live = False
        for first in range(0, len(ready), _LIVE_PER_STEP):
            # From here to `go_live` in one step: see the top.
            if self._tap is None:
                break
            portion = [joining for joining in ready[first : first + _LIVE_PER_STEP] if not joining.is_over]
            left = self._give_tapped(portion, self._tap)
            now = self._history.taken()
            for joining in portion:
                has_got = left.get(joining, True)
                if has_got:
                    joining.places = now
                if joining.is_over or joining.is_congested or not has_got:
                    self._leave(joining)
                else:
                    joining.is_over = True
                    joining.go_live()
                    is_anybody_live = True
            await asyncio.sleep(0)
        return is_anybody_live

    def _give_tapped(self, portion: list[Joining], tap: list[tuple[str, Sequence[Event]]]) -> dict[Joining, bool]:
        """Write what the tap holds. Returns those who cannot go on now, and whether they have got it."""
        if not tap or not portion:  # all of the portion may have ended while others were replayed
            return {}
        receivers = self._build_cohorts(0, portion[0].places[0])
        for joining in portion:
            receivers.add(joining)
        for stream, events in tap:
            receivers.stream = self._history.find_stream(stream)
            for event in events:
                receivers.offer(find_place(event), event)
        return {joining: has_got for joining, _, has_got in receivers.flush()}

    def _build_cohorts(self, stream: int, place: Place) -> Cohorts:
        return Cohorts(stream, place, self._dispatcher, self._history.write_token, self._metrics)

    def _lose(self, aboard: Cohorts) -> None:
        for joining in aboard:
            if not joining.is_over:
                joining.is_over = True
                joining.miss("history-trimmed")

    def _leave(self, joining: Joining) -> None:
        """Leave one standing, or behind if it is over."""
        del self.members[joining]
        if not joining.is_over:
            self._stand(joining)

    def _note_chunk(self) -> None:
        self._chunks += 1
        if self._chunks == _LONG_CHUNKS:
            self.is_long = True
            self._changed()


def _is_reached(ends: Places, places: Places) -> bool:
    return all(end <= place for end, place in zip(ends, places, strict=True))
