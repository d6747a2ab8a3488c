"""The oracle finds what is wrong: a receipt that is dropped, doubled, swapped, changed, or of somebody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.oracle import Books, Finding, Kind, Life, Want, describe

ROOMS = ("a", "b", "c")
WANTS = (Want(room="a"), Want(rooms=("a", "c")), Want(least_priority=2), Want())


def publish(books: Books, count: int, streams: tuple[str, ...] = ("one",)) -> None:
    for _ in range(count):
        number = len(books.events)
        event = books.begin(ROOMS[number % 3], number % 5, streams[number % len(streams)])
        books.accept(event, f"{number + 1}-0")


def deliver(books: Books, life: Life, numbers: range) -> None:
    """As a service without a fault does."""
    for event in books.events[numbers.start : numbers.stop]:
        if life.want.matches(event):
            books.receive(life, event.to_data())


def kinds(books: Books) -> list[Kind]:
    return [finding.kind for finding in books.judge()]


@given(st.sampled_from(WANTS), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_service_without_a_fault_is_not_blamed(want: Want, before: int, late: int, after: int) -> None:
    books = Books()
    publish(books, before)
    life = books.open("s", want)
    publish(books, after, ("one", "two"))
    # Some from before the acknowledgement may come, without a hole.
    deliver(books, life, range(max(0, before - late), before + after))
    assert books.is_caught_up(life)
    assert books.judge() == []
    life.ending = "4605"
    publish(books, 5)
    assert books.judge() == []


@pytest.mark.parametrize("want", WANTS, ids=str)
@pytest.mark.parametrize("ending", ["", "lost"])
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda received: received.pop(1), Kind.MISSING),
        (lambda received: received.pop(0), Kind.MISSING),
        (lambda received: received.insert(3, received[1]), Kind.DUPLICATE),
        (lambda received: received.insert(2, received[1]), Kind.DUPLICATE),
        (lambda received: received.insert(1, received.pop(2)), Kind.DISORDERED),
        (lambda received: received.insert(0, received.pop(3)), Kind.DISORDERED),
    ],
)
def test_one_spoilt_receipt_is_found(want: Want, ending: str, spoil: Callable[[list[int]], object], kind: Kind) -> None:
    books = Books()
    publish(books, 7)
    life = books.open("s", want)
    publish(books, 30)
    received = [event.number for event in books.events[7:] if want.matches(event)]
    spoil(received)
    for number in received:
        books.receive(life, books.events[number].to_data())
    life.ending = ending
    assert set(kinds(books)) == {kind}


def test_what_a_live_subscriber_lacks_at_the_end_is_missing_and_what_an_ended_one_lacks_is_not() -> None:
    books = Books()
    life = books.open("s", Want(room="a"))
    publish(books, 30)
    deliver(books, life, range(24))
    assert not books.is_caught_up(life)
    assert books.judge() == [Finding(Kind.MISSING, "s", 24), Finding(Kind.MISSING, "s", 27)]
    life.ending = "lost"
    assert books.judge() == []


def test_a_live_subscriber_that_received_nothing_lacks_everything() -> None:
    books = Books()
    life = books.open("s", Want())
    publish(books, 3)
    assert not books.is_caught_up(life)
    assert kinds(books) == [Kind.MISSING] * 3


def test_an_event_that_was_never_accepted_may_come_or_not() -> None:
    books = Books()
    one, two = books.open("one", Want()), books.open("two", Want())
    publish(books, 1)
    unanswered = books.begin("a")
    publish(books, 1)
    for number in (0, 2):
        books.receive(one, books.events[number].to_data())
    for number in (0, unanswered.number, 2):
        books.receive(two, books.events[number].to_data())
    assert books.is_caught_up(one)
    assert books.judge() == []


def test_events_of_others_and_changed_ones_are_found() -> None:
    books = Books()
    life = books.open("s", Want(room="a"))
    publish(books, 4)
    deliver(books, life, range(4))
    books.receive(life, books.events[1].to_data())
    assert books.judge() == [Finding(Kind.STRAY, "s", 1)]
    publish(books, 3)
    books.receive(life, books.events[6].to_data() | {"priority": 99})
    assert kinds(books) == [Kind.STRAY, Kind.CHANGED]
    books.receive(life, {"id": "1000", "roomId": "a", "priority": 0})
    assert kinds(books) == [Kind.STRAY, Kind.CHANGED, Kind.CHANGED]


def test_order_is_within_a_stream() -> None:
    books = Books()
    life = books.open("s", Want())
    publish(books, 6, ("one", "two"))
    for number in (1, 0, 3, 5, 2):
        books.receive(life, books.events[number].to_data())
    assert not books.is_caught_up(life)
    assert books.judge() == [Finding(Kind.MISSING, "s", 4)]
    books.receive(life, books.events[4].to_data())
    assert books.is_caught_up(life)
    assert books.judge() == []


def test_without_an_acknowledgement_it_counts_from_the_first_receipt() -> None:
    books = Books()
    life = books.open("s", Want(), is_acknowledged=False)
    publish(books, 3)
    assert books.judge() == []
    books.receive(life, books.events[1].to_data())
    assert books.judge() == []
    publish(books, 1)
    assert books.judge() == [Finding(Kind.MISSING, "s", 3)]


@pytest.mark.parametrize("is_exact", [False, True])
def test_what_was_under_way_at_the_acknowledgement_may_come_in_parts_unless_the_beginning_was_told(
    is_exact: bool,
) -> None:
    books = Books()
    publish(books, 4)
    life = books.open("s", Want(), is_exact=is_exact)
    publish(books, 2)
    for number in (1, 3):
        books.receive(life, books.events[number].to_data())
    assert not books.is_caught_up(life)
    for number in (4, 5):
        books.receive(life, books.events[number].to_data())
    assert books.is_caught_up(life)
    assert books.judge() == ([Finding(Kind.MISSING, "s", 2)] if is_exact else [])
    books.receive(life, books.events[0].to_data())
    assert Kind.DUPLICATE in kinds(books), "in order all the same"


def test_findings_are_told_to_people() -> None:
    books = Books()
    books.open("ann", Want())
    publish(books, 2)
    assert describe(books.judge(), most=1) == "2 missing\nann: missing event 0"
    assert describe([]) == "no difference"


def test_what_has_ended_is_judged_once_and_only_counted_from_then_on() -> None:
    books = Books()
    one, two = books.open("one", Want()), books.open("two", Want())
    publish(books, 3)
    for number in (0, 2):
        books.receive(one, books.events[number].to_data())
    one.ending = "lost"
    assert books.forget_ended() == [Finding(Kind.MISSING, "one", 1)]
    assert books.forget_ended() == []
    assert books.lives == [two]
    two.ending = "4605"
    assert books.count_endings() == {"lost": 1, "4605": 1}
