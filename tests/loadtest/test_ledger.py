import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loadtest.ledger import Fault, Ledger, Missing, Receipt


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(patience_s=5)


def test_a_delivery_in_time_has_its_latency(ledger):
    ledger.join("s", "room")
    ledger.begin("k", "room", 10.0)
    assert ledger.outstanding == 1
    ledger.finish("k", 10.1)
    assert ledger.receive("s", "k", 10.5) == Receipt(0.5, None)
    assert ledger.outstanding == 0
    assert ledger.overdue(100) == []


def test_a_delivery_may_come_before_the_publish_request_is_answered(ledger):
    ledger.join("s", "room")
    ledger.begin("k", "room", 10.0)
    assert ledger.receive("s", "k", 10.1).fault is None
    ledger.finish("k", 10.2)
    assert ledger.overdue(100) == []


def test_what_did_not_come_within_the_patience_is_missing_once(ledger):
    ledger.join("s1", "room")
    ledger.join("s2", "room")
    ledger.begin("k", "room", 10.0)
    assert ledger.overdue(99) == []  # the request is still under way
    ledger.finish("k", 100.0)
    ledger.receive("s1", "k", 101.0)
    assert ledger.overdue(104.9) == []
    assert ledger.overdue(105.0) == [Missing("s2", "k")]
    assert ledger.overdue(106.0) == []
    assert ledger.outstanding == 0
    assert ledger.receive("s2", "k", 107.0).fault is None  # late: counted as missing, not as a stray as well


def test_doubled_and_foreign_deliveries_are_faults(ledger):
    ledger.join("s", "room")
    ledger.begin("k", "room", 1.0)
    ledger.begin("other", "elsewhere", 1.0)
    assert ledger.receive("s", "k", 2.0).fault is None
    assert ledger.receive("s", "k", 2.0).fault is Fault.DUPLICATE
    assert ledger.receive("s", "other", 2.0).fault is Fault.STRAY
    assert ledger.receive("s", "never published", 2.0).fault is Fault.STRAY
    assert ledger.receive("nobody", "k", 2.0).fault is Fault.STRAY


def test_order_is_judged_only_where_publishing_had_an_order(ledger):
    ledger.join("s", "room")
    ledger.begin("first", "room", 1.0)
    ledger.begin("beside", "room", 1.5)
    ledger.finish("first", 2.0)
    ledger.begin("second", "room", 3.0)
    ledger.finish("second", 4.0)
    ledger.finish("beside", 5.0)
    assert ledger.receive("s", "second", 6.0).fault is None
    assert ledger.receive("s", "beside", 6.0).fault is None
    assert ledger.receive("s", "first", 6.0).fault is Fault.DISORDERED


def test_who_leaves_is_owed_nothing_but_may_receive_until_forgotten(ledger):
    ledger.join("s", "room")
    ledger.begin("k1", "room", 1.0)
    ledger.leave("s")
    assert ledger.outstanding == 0
    ledger.begin("k2", "room", 2.0)
    assert ledger.receive("s", "k1", 3.0).fault is None
    assert ledger.receive("s", "k2", 3.0).fault is None
    ledger.forget("s")
    assert ledger.receive("s", "k2", 3.0).fault is Fault.STRAY


def test_who_joins_while_a_request_is_under_way_may_receive_it(ledger):
    ledger.begin("k", "room", 1.0)
    ledger.join("s", "room")
    ledger.finish("k", 2.0)
    assert ledger.overdue(100) == []
    assert ledger.receive("s", "k", 100.0).fault is None


def test_a_failed_publication_is_owed_to_nobody(ledger):
    ledger.join("s", "room")
    ledger.begin("k", "room", 1.0)
    ledger.abandon("k")
    assert ledger.outstanding == 0
    assert ledger.overdue(100) == []


def test_old_publications_are_forgotten(ledger):
    ledger.join("s", "room")
    for number in range(100):
        ledger.begin(f"k{number}", "room", number)
        ledger.begin(f"failed{number}", "room", number)
        ledger.abandon(f"failed{number}")
        ledger.finish(f"k{number}", number)
        ledger.receive("s", f"k{number}", number)
        ledger.overdue(number)
    assert len(ledger._publications) <= 110
    assert ledger.receive("s", "k0", 100.0).fault is Fault.STRAY


def test_names_are_used_once(ledger):
    ledger.join("s", "room")
    ledger.begin("k", "room", 1.0)
    with pytest.raises(ValueError, match="'s' has joined"):
        ledger.join("s", "room")
    with pytest.raises(ValueError, match="'k' has begun"):
        ledger.begin("k", "room", 1.0)


class LedgerMachine(RuleBasedStateMachine):
    """Against the definition: the whole history is kept, and everything is worked out from it anew."""

    rooms = st.sampled_from(["a", "b"])
    numbers = st.integers(0, 30)

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(patience_s=1e9)
        self.now = 0
        self.joined: dict[str, tuple[str, int]] = {}
        self.left: set[str] = set()
        self.forgotten: set[str] = set()
        self.begun: dict[str, tuple[str, int]] = {}
        self.finished: dict[str, int] = {}
        self.abandoned: set[str] = set()
        self.received: list[tuple[str, str]] = []

    def _tick(self) -> int:
        self.now += 1
        return self.now

    def _due(self) -> set[tuple[str, str]]:
        return {
            (subscription, key)
            for subscription, (room, joined) in self.joined.items()
            for key, (key_room, begun) in self.begun.items()
            if room == key_room
            and joined < begun
            and subscription not in self.left
            and key not in self.abandoned
            and (subscription, key) not in self.received
        }

    @rule(room=rooms)
    def join(self, room):
        name = f"s{len(self.joined)}"
        self.joined[name] = (room, self._tick())
        self.ledger.join(name, room)

    @precondition(lambda self: set(self.joined) - self.left)
    @rule(number=numbers)
    def leave(self, number):
        name = self._pick(set(self.joined) - self.left, number)
        self.left.add(name)
        self.ledger.leave(name)

    @precondition(lambda self: set(self.joined) - self.forgotten)
    @rule(number=numbers)
    def forget(self, number):
        name = self._pick(set(self.joined) - self.forgotten, number)
        self.left.add(name)
        self.forgotten.add(name)
        self.ledger.forget(name)

    @rule(room=rooms)
    def begin(self, room):
        key = f"k{len(self.begun)}"
        self.begun[key] = (room, self._tick())
        self.ledger.begin(key, room, self.now)

    @precondition(lambda self: self._open())
    @rule(number=numbers, is_published=st.booleans())
    def answer(self, number, is_published):
        key = self._pick(self._open(), number)
        if is_published:
            self.finished[key] = self._tick()
            self.ledger.finish(key, self.now)
        else:
            self.abandoned.add(key)
            self.ledger.abandon(key)

    @precondition(lambda self: self.joined and self.begun)
    @rule(subscription=numbers, key=numbers)
    def receive(self, subscription, key):
        name, key = self._pick(set(self.joined), subscription), self._pick(set(self.begun), key)
        fault = None
        if name in self.forgotten or self.joined[name][0] != self.begun[key][0]:
            fault = Fault.STRAY
        elif (name, key) in self.received:
            fault = Fault.DUPLICATE
        else:
            earlier = [self.begun[other][1] for who, other in self.received if who == name]
            if key in self.finished and any(self.finished[key] < begun for begun in earlier):
                fault = Fault.DISORDERED
            self.received.append((name, key))
        assert self.ledger.receive(name, key, self._tick()).fault is fault

    @invariant()
    def outstanding_is_what_is_due(self):
        assert self.ledger.outstanding == len(self._due())

    def teardown(self):
        missing = {(each.subscription, each.key) for each in self.ledger.overdue(float("inf"))}
        assert missing == {(name, key) for name, key in self._due() if key in self.finished}

    def _open(self):
        return set(self.begun) - set(self.finished) - self.abandoned

    @staticmethod
    def _pick(names, number):
        ordered = sorted(names)
        return ordered[number % len(ordered)]


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
