from collections.abc import Sequence
from contextlib import closing

import httpx
import pytest

from loadtest import chat
from loadtest.marks import EVERYBODY, Mark, build_key, name_room
from loadtest.processes import Service
from loadtest.swarm import Crowd, Swarm, SwarmError
from tests.loadtest.conftest import API_KEY, PUBLISHER_KEY


def _publish(service: Service, *marks: Mark) -> None:
    events = [chat.build_event(build_key(mark), name_room(mark.room), "2026-01-01T00:00:00.000Z") for mark in marks]
    for event in events:
        httpx.post(f"{service.url}/events", json=event, headers={"x-api-key": PUBLISHER_KEY}).raise_for_status()


def _take_all(swarm: Swarm, due: int) -> None:
    while swarm.accounted < due and swarm.poll(10):
        pass
    swarm.settle(0)


def test_every_connection_receives_every_event_of_its_room(service):
    with closing(Swarm(Crowd(service.url, API_KEY, 25, 2, window=4))) as swarm:
        swarm.connect()
        _publish(service, Mark(0, 1, 0), Mark(1, 1, 0), Mark(0, 2, 0))
        _take_all(swarm, 13 + 12 + 13)
        swarm.reconcile({0: 2, 1: 1})
        assert (swarm.receipts, swarm.live, dict(swarm.faults)) == (13 + 12 + 13, 25, {})
        assert swarm.describe_faults() == "no faults"


def test_part_of_a_crowd_has_its_own_numbers(service):
    with closing(Swarm(Crowd(service.url, API_KEY, 25, 2), 10, 5)) as swarm:
        swarm.connect()
        _publish(service, Mark(0, 1, 0), Mark(1, 1, 0))
        _take_all(swarm, 5)
        swarm.reconcile({0: 1, 1: 1})
        assert (swarm.receipts, dict(swarm.faults)) == (5, {})


def test_several_subscriptions_of_a_connection_are_told_apart(service):
    with closing(Swarm(Crowd(service.url, API_KEY, 4, 2, per_connection=3))) as swarm:
        swarm.connect()
        _publish(service, Mark(0, 1, 0), Mark(1, 1, 0), Mark(1, 2, 0))
        _take_all(swarm, 6 + 6 + 6)
        swarm.reconcile({0: 1, 1: 2})
        assert (swarm.receipts, dict(swarm.faults)) == (18, {})


def test_everybody_hears_what_is_for_everybody(service):
    with closing(Swarm(Crowd(service.url, API_KEY, 7, 3, hears_everybody=True))) as swarm:
        swarm.connect()
        _publish(service, Mark(EVERYBODY, 1, 0), Mark(2, 1, 0), Mark(EVERYBODY, 2, 0))
        _take_all(swarm, 7 + 2 + 7)
        swarm.reconcile({EVERYBODY: 2, 2: 1})
        assert (swarm.receipts, dict(swarm.faults)) == (16, {})


def test_what_arrives_together_or_in_pieces_is_counted(service):
    with closing(Swarm(Crowd(service.url, API_KEY, 2))) as swarm:
        swarm.connect()
        taken = []
        take = swarm._take
        swarm._take = lambda number, data: taken.append((number, data))
        _publish(service, Mark(0, 1, 0), Mark(0, 2, 0))
        while sum(data.count(b"0/2/") for _, data in taken) < 2:
            assert swarm.poll(10)
        swarm._take = take
        for number in (0, 1):
            data = b"".join(piece for owner, piece in taken if owner == number)
            pieces = [data] if number == 0 else [data[start : start + 7] for start in range(0, len(data), 7)]
            for piece in pieces:
                swarm._take(number, piece)
            assert swarm._next[number] == 3
        swarm.reconcile({0: 2})
        assert swarm.faults == {}


def test_latencies_are_kept_for_each_receipt(service):
    with closing(Swarm(Crowd(service.url, API_KEY, 5))) as swarm:
        swarm.connect()
        swarm.keep_latencies()
        _publish(service, Mark(0, 1, 1), Mark(0, 2, 1))
        _take_all(swarm, 10)
        latencies = swarm.take_latencies()
        assert len(latencies) == 10
        assert min(latencies) > 0


def test_something_else_can_be_watched_meanwhile(service):
    import os

    reader, writer = os.pipe()
    seen = []
    with closing(Swarm(Crowd(service.url, API_KEY, 1))) as swarm:
        swarm.watch(reader, lambda: seen.append(os.read(reader, 10)))
        swarm.connect()
        os.write(writer, b"here")
        while not seen:
            assert swarm.poll(10)
    os.close(reader)
    os.close(writer)
    assert seen == [b"here"]


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ({"connection_init": ["close"]}, "closed with 4000 as told"),
        ({"connection_init": [{"type": "connection_error"}]}, "while initialising: .*connection_error"),
        ({}, "0 of 2 live, {'initialising': 2}"),
        ({"connection_init": [{"type": "connection_ack"}], "start": [{"type": "start_ack", "id": "x"}]}, "starting"),
    ],
)
def test_what_kept_connections_from_being_made_is_told(scripted, replies, why):
    url = scripted(**replies).removesuffix("/graphql")
    with closing(Swarm(Crowd(url, API_KEY, 2))) as swarm, pytest.raises(SwarmError, match=why):
        swarm.connect(timeout_s=0.2)


def test_nobody_there():
    with (
        closing(Swarm(Crowd("http://127.0.0.1:1", API_KEY, 1))) as swarm,
        pytest.raises(SwarmError, match="refused"),
    ):
        swarm.connect()


def _answer(*keys: str) -> list[object]:
    """A peer that answers `start` with the ack and then with these `room/sequence` events."""
    return [{"type": "start_ack", "id": "$id"}] + [
        {"type": "data", "id": "$id", "payload": {"data": {"onCreateMessage": {"content": f"{key}/0/"}}}}
        for key in keys
    ]


@pytest.mark.parametrize(
    ("answer", "receipts", "faults"),
    [
        (_answer("0/1", "0/2"), 2, {}),
        (_answer("0/1", "0/1", "0/2"), 2, {"duplicate or out of order": 1}),
        (_answer("0/2"), 1, {"missing": 1}),
        (_answer("0/2", "0/1"), 1, {"missing": 1, "duplicate or out of order": 1}),
        (_answer("0/1", "1/1", "0/2"), 2, {"stray": 1}),
        (_answer("0/1", "-1/1", "0/2"), 2, {"stray": 1}),
        (_answer("0/1"), 1, {"missing": 1}),
        (_answer("0/1", "0/2", "0/3"), 2, {"never published": 1}),
        ([*_answer("0/1"), "close"], 1, {"missing": 1, "connection": 1}),
        ([*_answer("0/1"), {"type": "complete", "id": "$id"}], 1, {"missing": 1, "connection": 1}),
        ([*_answer("0/1"), _answer("0/2")[1] | {"id": "another"}], 1, {"missing": 1, "connection": 1}),
    ],
    ids=[
        "right",
        "duplicate",
        "missing",
        "swapped",
        "stray",
        "not for everybody",
        "last missing",
        "too many",
        "closed",
        "ended",
        "foreign id",
    ],
)
def test_wrong_deliveries_are_faults(scripted, answer: Sequence[object], receipts, faults):
    url = scripted(connection_init=[{"type": "connection_ack"}, {"type": "ka"}], start=answer)
    with closing(Swarm(Crowd(url.removesuffix("/graphql"), API_KEY, 1, 2))) as swarm:
        try:
            swarm.connect()
        except SwarmError:
            pass  # the fault came with the ack
        expected = sum(faults.values()) - faults.get("never published", 0)
        late = faults.get("missing", 0) if "connection" in faults or answer == _answer("0/1") else 0  # told at the end
        while sum(swarm.faults.values()) < expected - late or swarm.receipts < receipts:
            assert swarm.poll(5)
        swarm.settle(0.1)
        swarm.reconcile({0: 2})
        assert dict(swarm.faults) == faults
        assert (swarm.receipts, swarm.keep_alives) == (receipts, 1)


def test_what_settles_is_events_and_not_signs_of_life():
    class Restless(Swarm):
        def poll(self, timeout_s: float) -> bool:
            self.keep_alives += 1
            if self.keep_alives < 3:
                self.receipts += 1
            return True

    swarm = Restless(Crowd("http://127.0.0.1:80", API_KEY, 1))
    swarm.settle(0.001)
    assert swarm.receipts == 2
    assert swarm.keep_alives > 2


def test_only_loopback_is_loaded():
    with pytest.raises(ValueError, match=r"127\.x\.x\.x"):
        Swarm(Crowd("http://192.0.2.1:80", API_KEY, 1))


def test_as_many_subscriptions_as_are_kept_apart():
    with pytest.raises(ValueError, match="from 1 to 8"):
        Swarm(Crowd("http://127.0.0.1:80", API_KEY, 1, per_connection=9))
