"""The books of a fault test: what was published, what every subscriber received, and where the two disagree.

Knows no process, no socket and nothing of how Fanout works; only what it promises (docs/architecture.md):

- One publisher writes event after event, so per stream the numbers of the events are the order of the stream.
- A *life* is one subscription from its acknowledgement to its end. What it received in a stream has to be one unbroken
  run of the events that it wants: in order, each once, as published. It begins with the first event whose publishing
  began after the acknowledgement was seen. What was under way at that moment may come too, in order and once, but need
  not be complete: a router that had looked before forwards it where others want it, and nowhere else.
- A subscriber that was told the position where it begins receives exactly what comes after that: nothing is optional.
- A life that is still live has received the run to its end. One that ended was told so, by a close or by the loss of
  its connection: it may lack what came after its last receipt, and nothing before that.
- A subscriber that resumes after its last position lives on: over all its connections it receives one unbroken run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Any

STREAM = "fanout:events"
_FIELDS = "{ id roomId priority }"


class Kind(Enum):
    """What can be wrong."""

    MISSING = "missing"
    DUPLICATE = "duplicate"
    DISORDERED = "disordered"
    STRAY = "stray"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement: a subscriber, and the number of an event."""

    kind: Kind
    subscriber: str
    number: int


@dataclass(frozen=True, slots=True)
class Event:
    """What is published. Numbers count from 0 over all streams."""

    number: int
    room: str
    priority: int
    stream: str = STREAM

    def to_data(self, padding: str = "") -> dict[str, Any]:
        data: dict[str, Any] = {"id": str(self.number), "roomId": self.room, "priority": self.priority}
        return data | {"content": padding} if padding else data


@dataclass(frozen=True, slots=True)
class Want:
    """What a subscriber asks for, and an evaluation of it that shares no line with Fanout's.

    Args:
        room: by the plain argument.
        rooms: any of these, by a filter.
        least_priority: by a filter that no bucket can be made of, beside nothing else.
    """

    room: str | None = None
    rooms: tuple[str, ...] = ()
    least_priority: int | None = None

    def matches(self, event: Event) -> bool:
        return (
            (self.room is None or event.room == self.room)
            and (not self.rooms or event.room in self.rooms)
            and (self.least_priority is None or event.priority >= self.least_priority)
        )

    @property
    def query(self) -> str:
        if self.room is not None:
            return f"subscription On($room: ID) {{ onCreateMessage(roomId: $room) {_FIELDS} }}"
        if self.variables:
            return f"subscription On($filter: MessageFilterInput) {{ onCreateMessage(filter: $filter) {_FIELDS} }}"
        return f"subscription On {{ onCreateMessage {_FIELDS} }}"

    @property
    def variables(self) -> Mapping[str, Any]:
        if self.room is not None:
            return {"room": self.room}
        conditions: dict[str, Any] = {}
        if self.rooms:
            conditions["roomId"] = {"in": list(self.rooms)}
        if self.least_priority is not None:
            conditions["priority"] = {"ge": self.least_priority}
        return {"filter": conditions} if conditions else {}


@dataclass(slots=True)
class _Run:
    """How far a life has got in one stream, in what it wants of that.

    Args:
        at: index of what comes next.
        is_begun: whether anything has come; before that, what comes may also be older than what is due.
        skipped: numbers that it has passed over.
    """

    at: int
    is_begun: bool = False
    skipped: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Life:
    """One subscription from its acknowledgement to its end.

    Args:
        subscriber: a name for people.
        want: what it asked for.
        due_from: number of the first event that is due; None while that is not known, since not every dialect
            acknowledges: then what is published after its first receipt is due.
        is_exact: nothing is optional from its first receipt on.
        ending: how it ended; empty while it is live.
        last: number of the last receipt.
        findings: what was wrong with its receipts.
    """

    subscriber: str
    want: Want
    due_from: int | None
    is_exact: bool = False
    ending: str = ""
    last: int = -1
    findings: list[Finding] = field(default_factory=list)
    runs: dict[str, _Run] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        return not self.ending

    def is_due(self, number: int) -> bool:
        """Whether it has to come, if it is wanted and comes after what came already."""
        return self.is_exact or (self.due_from is not None and number >= self.due_from)


class Books:
    """Everything that happened in one test."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lives: list[Life] = []
        self.receipts = 0
        self._forgotten: Counter[str] = Counter()
        self._accepted: dict[int, str] = {}
        self._streams: dict[str, None] = {}
        self._wanted: dict[tuple[Want, str], list[int]] = {}
        self._looked_at: dict[tuple[Want, str], int] = {}

    # What the publisher writes

    def begin(self, room: str, priority: int = 0, stream: str = STREAM) -> Event:
        """An event is about to be published."""
        event = Event(len(self.events), room, priority, stream)
        self.events.append(event)
        self._streams.setdefault(stream)
        return event

    def accept(self, event: Event, entry_id: str) -> None:
        """Redis has answered with the id of the event's entry. What is never answered may be delivered or not."""
        self._accepted[event.number] = entry_id

    # What the subscribers write

    def open(self, subscriber: str, want: Want, is_acknowledged: bool = True, is_exact: bool = False) -> Life:
        """A subscription was acknowledged just now."""
        life = Life(subscriber, want, len(self.events) if is_acknowledged else None, is_exact)
        self.lives.append(life)
        return life

    def receive(self, life: Life, data: Mapping[str, Any]) -> None:
        """A life was delivered the data of one event."""
        number = int(data["id"])
        self.receipts += 1
        life.last = number
        event = self.events[number] if 0 <= number < len(self.events) else None
        if event is None or event.to_data() != data:
            life.findings.append(Finding(Kind.CHANGED, life.subscriber, number))
        if event is None:
            return
        if life.due_from is None:
            life.due_from = len(self.events)
            life.runs.clear()
        wanted = self._list_wanted(life.want, event.stream)
        run = self._find_run(life, event.stream, wanted)
        index = bisect_left(wanted, number)
        if index == len(wanted) or wanted[index] != number:
            life.findings.append(Finding(Kind.STRAY, life.subscriber, number))
            return
        if number in run.skipped:
            run.skipped.discard(number)
            life.findings.append(Finding(Kind.DISORDERED, life.subscriber, number))
        elif run.is_begun and index < run.at:
            life.findings.append(Finding(Kind.DUPLICATE, life.subscriber, number))
        else:
            run.skipped.update(filter(life.is_due, wanted[run.at : index]))
            run.at = index + 1
            run.is_begun = True

    # What the test asks

    @property
    def accepted(self) -> int:
        """How many events were accepted."""
        return len(self._accepted)

    def list_live(self) -> list[Life]:
        return [life for life in self.lives if life.is_live]

    def count_endings(self) -> Counter[str]:
        """How lives ended, also those that were forgotten."""
        return self._forgotten + self._count_endings()

    def is_caught_up(self, life: Life) -> bool:
        """Whether a live life has got to the last event that is due to it, or beyond."""
        if life.due_from is None:
            return True
        for stream in self._list_streams():
            wanted = self._list_wanted(life.want, stream)
            run = self._find_run(life, stream, wanted)
            if any(number in self._accepted and life.is_due(number) for number in wanted[run.at :]):
                return False
        return True

    def judge(self) -> list[Finding]:
        """All disagreements, of all lives."""
        return [finding for life in self.lives for finding in self.judge_life(life)]

    def judge_life(self, life: Life) -> list[Finding]:
        """The disagreements of one life. An event that was never accepted may be lacking anywhere."""
        missing: set[int] = set()
        for stream in self._list_streams():
            wanted = self._list_wanted(life.want, stream)
            run = self._find_run(life, stream, wanted)
            missing |= run.skipped
            if life.is_live and life.due_from is not None:
                missing.update(filter(life.is_due, wanted[run.at :]))
        missing &= self._accepted.keys()
        return [*life.findings, *(Finding(Kind.MISSING, life.subscriber, number) for number in sorted(missing))]

    def forget_ended(self) -> list[Finding]:
        """Judge the lives that have ended, and keep no more of them than how they ended."""
        findings = [finding for life in self.lives if not life.is_live for finding in self.judge_life(life)]
        self._forgotten += self._count_endings()
        self.lives = self.list_live()
        return findings

    def _count_endings(self) -> Counter[str]:
        return Counter(life.ending for life in self.lives if life.ending)

    def _list_streams(self) -> list[str]:
        return list(self._streams) or [STREAM]

    def _find_run(self, life: Life, stream: str, wanted: Sequence[int]) -> _Run:
        run = life.runs.get(stream)
        if run is None:
            run = life.runs[stream] = _Run(bisect_left(wanted, life.due_from or 0))
        return run

    def _list_wanted(self, want: Want, stream: str) -> list[int]:
        """Numbers of a stream's events that match; remembered, since many subscribers want the same."""
        key = (want, stream)
        wanted = self._wanted.setdefault(key, [])
        looked_at = self._looked_at.get(key, 0)
        if looked_at < len(self.events):
            for event in islice(self.events, looked_at, None):
                if event.stream == stream and want.matches(event):
                    wanted.append(event.number)
            self._looked_at[key] = len(self.events)
        return wanted


def describe(findings: Sequence[Finding], most: int = 20) -> str:
    """Findings for people: how many of each kind, and the first ones."""
    counts = Counter(finding.kind.value for finding in findings)
    shown = [f"{finding.subscriber}: {finding.kind.value} event {finding.number}" for finding in findings[:most]]
    return "\n".join([", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no difference", *shown])
