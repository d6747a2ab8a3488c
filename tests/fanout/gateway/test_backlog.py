"""What a slow reader receives is what its policy says: against a plain model, event by event.

The model keeps lists of events and works everything out anew at each step; the transport is one that counts bytes
and pauses as asyncio's do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from hypothesis import given
from hypothesis import strategies as st

from fanout.engine import Dispatcher, Registry, Subscription
from fanout.gateway.backlog import ENTRY_BYTES, Backlogs
from fanout.gateway.overflow import Keeper
from fanout.metrics import Metrics
from fanout.model import Event, Overflow, OverflowPolicy
from fanout.protocol import APPSYNC, frame_header, join_parts
from filters import MATCH_ALL

MAX_BYTES = 8000
HIGH, LOW = MAX_BYTES // 4, MAX_BYTES // 16
ID = "the id"


class Projection:
    key = "p"

    def project(self, data: object) -> bytes:
        return orjson.dumps({"data": {"onX": data}})

    def too_large(self, size: int, limit: int) -> bytes:
        raise AssertionError


class Connection:
    """A connection with a transport whose buffer empties only when the test says so."""

    def __init__(self, backlogs: Backlogs) -> None:
        self.subscriptions: list[Subscription] = []
        self.received: list[bytes] = []
        self.buffer: list[bytes] = []
        self.is_given_up = False
        self._backlogs = backlogs
        self.write: Callable[[bytes], None] = self.write_directly

    @property
    def is_slow(self) -> bool:
        return self.write == self.write_bounded

    @property
    def unsent_bytes(self) -> int:
        return sum(map(len, self.buffer))

    def give_up(self) -> None:
        self.is_given_up = True
        self.write = lambda data: None
        self.redirect()

    def write_directly(self, data: bytes) -> None:
        self.buffer.append(data)
        if self.unsent_bytes > HIGH and not self.is_slow:
            self.write = self.write_bounded
            self.redirect()

    def write_bounded(self, data: bytes) -> None:
        raise AssertionError("nothing but subscriptions with a policy here")

    def redirect(self) -> None:
        for subscription in self.subscriptions:
            self._backlogs.redirect(self, subscription)

    def read(self, frames: int) -> None:
        for _ in range(frames):
            if not self.buffer:
                break
            self.received.append(self.buffer.pop(0))
        if self.is_slow and self.unsent_bytes <= LOW:
            self.write = self.write_directly
            if self._backlogs.flush(self):
                self.redirect()


class Scene:
    def __init__(self, *overflows: Overflow) -> None:
        self.metrics = Metrics()
        self.registry = Registry(self.metrics)
        self.backlogs = Backlogs(self.registry, MAX_BYTES, self.metrics)
        self.backlogs.note = lambda keeper: None  # type: ignore[method-assign]  # there is no event loop here
        self.connection = Connection(self.backlogs)
        self.dispatcher = Dispatcher(self.registry, lambda mutation: ("onX",), 10**6, self.metrics, lambda: 0)
        self._count = 0
        projection = Projection()
        for number, overflow in enumerate(overflows):
            keeper = Keeper(
                lambda payloads, length: join_parts(payloads, APPSYNC, length),
                overflow,
                self.backlogs.note,
            )
            group, _ = self.registry.find_or_create("onX", MATCH_ALL, projection, f"{number}", keeper)
            id_bytes = orjson.dumps(ID if number == 0 else f"{ID} {number}")
            self.connection.subscriptions.append(self.registry.add(group, id_bytes, self.connection.write))

    def deliver(self, events: list[tuple[int, int]]) -> list[dict[str, object]]:
        data: list[dict[str, object]] = []
        for value, size in events:
            data.append({"n": self._count, "value": value, "text": "x" * size})
            self._count += 1
        self.dispatcher.deliver("s", [Event("1-0", "m", item, b"", 0) for item in data])
        return data

    def list_received(self) -> dict[str, list[dict[str, object]]]:
        """Payloads by subscription id."""
        received: dict[str, list[dict[str, object]]] = {}
        for message in read_messages(b"".join(self.connection.received)):
            received.setdefault(str(message["id"]), []).append(message["payload"])  # type: ignore[arg-type]
        return received


def read_messages(data: bytes) -> list[dict[str, object]]:
    messages = []
    while data:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        messages.append(orjson.loads(data[start : start + length]))
        data = data[start + length :]
    return messages


@dataclass
class Model:
    """The same with lists of payloads, for one subscription."""

    overflow: Overflow
    buffer: list[list[dict[str, object]]] = field(default_factory=list)
    waiting: list[tuple[int, dict[str, object]]] = field(default_factory=list)
    received: list[dict[str, object]] = field(default_factory=list)
    is_paused: bool = False
    is_given_up: bool = False
    came: int = 0
    told: int = 0
    dropped: int = 0

    def deliver(self, events: list[dict[str, object]]) -> None:
        if self.is_given_up:
            return
        payloads: list[dict[str, object]] = [{"data": {"onX": event}} for event in events]
        if not self.is_paused:
            self.write(payloads)
            return
        for payload in payloads:
            if self.overflow.policy is OverflowPolicy.LATEST:
                key = self.key(payload)
                kept = [entry for entry in self.waiting if self.key(entry[1]) != key]
                self.dropped += len(self.waiting) - len(kept)
                self.waiting = kept
            self.waiting.append((self.came, payload))
            self.came += 1
            while len(self.waiting) > 1 and self.is_over():
                self.waiting.pop(0)
                self.dropped += 1
        if self.unsent() + self.held() > MAX_BYTES:
            self.is_given_up = True

    def key(self, payload: dict[str, object]) -> object:
        return payload["data"]["onX"]["value"] if self.overflow.path else None  # type: ignore[index]

    def is_over(self) -> bool:
        return self.held() > MAX_BYTES // 2 or self.unsent() + self.held() > MAX_BYTES

    def held(self) -> int:
        return sum(len(orjson.dumps(payload)) + ENTRY_BYTES for _, payload in self.waiting)

    def unsent(self) -> int:
        return sum(measure(payload) for payloads in self.buffer for payload in payloads)

    def write(self, payloads: list[dict[str, object]]) -> None:
        self.buffer.append(payloads)
        self.is_paused = self.is_paused or self.unsent() > HIGH

    def read(self, writes: int) -> None:
        for _ in range(writes):
            if self.buffer:
                self.received += self.buffer.pop(0)
        if self.is_given_up or not self.is_paused or self.unsent() > LOW:
            return
        self.is_paused = False
        while self.waiting and not self.is_paused:
            number, payload = self.waiting.pop(0)
            if number > self.told:
                payload = {**payload, "extensions": {"fanout": {"dropped": number - self.told}}}
            self.told = number + 1
            self.write([payload])
        if not self.is_paused:
            self.came = self.told = 0


def measure(payload: dict[str, object]) -> int:
    message = orjson.dumps({"type": "data", "id": ID, "payload": payload})
    return len(frame_header(len(message))) + len(message)


POLICIES = (
    Overflow(OverflowPolicy.DROP_OLDEST),
    Overflow(OverflowPolicy.LATEST),
    Overflow(OverflowPolicy.LATEST, ("value",)),
)
sizes = st.sampled_from([300, 30, 0, 300, 30, 900, 300, 900, 5000])
batches = st.lists(st.tuples(st.integers(0, 9), sizes), min_size=1, max_size=6)
steps = st.lists(st.one_of(batches, batches, batches, st.integers(1, 12)), min_size=5, max_size=50)


@given(st.sampled_from(POLICIES), steps)
def test_a_slow_reader_receives_what_the_policy_says(overflow: Overflow, steps: list[object]) -> None:
    scene, model = Scene(overflow), Model(overflow)
    for step in steps:
        if isinstance(step, int):
            scene.connection.read(step)
            model.read(step)
        else:
            model.deliver(scene.deliver(step))  # type: ignore[arg-type]
        assert scene.connection.is_given_up == model.is_given_up
        if model.is_given_up:
            return
        waiting_bytes = scene.backlogs.count_bytes(scene.connection)
        assert waiting_bytes == model.held()
        if waiting_bytes:
            assert scene.connection.unsent_bytes + waiting_bytes <= MAX_BYTES
    for _ in range(1000):
        scene.connection.read(1)
        model.read(1)
    assert scene.list_received().get(ID, []) == model.received
    assert scene.metrics.drops.total() == model.dropped
    assert len(scene.backlogs) == 0


@given(st.lists(st.sampled_from(POLICIES), min_size=1, max_size=4), steps)
def test_everything_is_received_in_order_or_counted_where_it_is_missing(
    overflows: list[Overflow], steps: list[object]
) -> None:
    scene = Scene(*overflows)
    count = 0
    for step in steps:
        if isinstance(step, int):
            scene.connection.read(step)
        else:
            count += len(scene.deliver(step))  # type: ignore[arg-type]
        if scene.connection.is_given_up:
            return
    for _ in range(1000):
        scene.connection.read(1)
    missing = 0
    for payloads in scene.list_received().values():
        expected = 0
        for payload in payloads:
            dropped = payload.get("extensions", {"fanout": {"dropped": 0}})["fanout"]["dropped"]  # type: ignore[index]
            expected += dropped
            missing += dropped
            assert payload["data"]["onX"]["n"] == expected  # type: ignore[index]
            expected += 1
        assert expected == count  # the newest is always among them
    assert len(scene.list_received()) == (len(overflows) if count else 0)
    assert scene.metrics.drops.total() == missing


def fill(scene: Scene) -> None:
    """Make the connection slow."""
    scene.deliver([(0, HIGH)])
    assert scene.connection.is_slow


def test_a_subscription_that_ends_gives_back_what_waits_for_it() -> None:
    scene = Scene(*POLICIES)
    fill(scene)
    scene.deliver([(1, 10), (2, 10)])
    for subscription in scene.connection.subscriptions:
        scene.backlogs.forget(scene.connection, subscription)
    assert scene.backlogs.count_bytes(scene.connection) == 0
    assert len(scene.backlogs) == 0


def test_a_payload_larger_than_all_there_is_ends_the_connection() -> None:
    scene = Scene(Overflow(OverflowPolicy.LATEST))
    fill(scene)
    scene.deliver([(1, MAX_BYTES)])
    assert scene.connection.is_given_up


def test_what_waits_can_be_taken_out_at_once() -> None:
    scene = Scene(Overflow(OverflowPolicy.LATEST))
    fill(scene)
    scene.deliver([(1, 10), (2, 10)])
    [message] = read_messages(b"".join(scene.backlogs.take_all(scene.connection)))
    assert message["payload"]["extensions"] == {"fanout": {"dropped": 1}}  # type: ignore[index]
    assert scene.backlogs.take_all(scene.connection) == []
