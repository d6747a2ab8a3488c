import os
import resource
import signal

import httpx
import pytest

from loadtest import chat
from loadtest.fleet import Fleet, raise_descriptor_limit
from loadtest.marks import EVERYBODY, Mark, build_key, name_room
from loadtest.swarm import Crowd, SwarmError
from tests.loadtest.conftest import API_KEY, PUBLISHER_KEY


def _publish(service, fleet, room, sequence):
    fleet.note_published(room)
    event = chat.build_event(build_key(Mark(room, sequence, 1)), name_room(room), "2026-01-01T00:00:00.000Z")
    httpx.post(f"{service.url}/events", json=event, headers={"x-api-key": PUBLISHER_KEY}).raise_for_status()


def test_several_processes_keep_common_books(service):
    told = []
    with Fleet(Crowd(service.url, API_KEY, 20, 3, hears_everybody=True), processes=3) as fleet:
        assert len(fleet.pids) == 3
        assert fleet.connect(progress=told.append) > 0
        assert fleet.live == 20
        fleet.keep_latencies()
        for room, sequence in ((0, 1), (EVERYBODY, 1), (0, 2)):
            _publish(service, fleet, room, sequence)
        assert fleet.expected == 7 + 20 + 7
        assert fleet.await_receipts() > 0
        assert (fleet.accounted, fleet.is_behind) == (34, False)
        assert len(fleet.take_latencies()) == 34
        books = fleet.reconcile(0.0)
        assert (books.is_good, books.receipts, books.expected) == (True, 34, 34)
        assert books.bytes_received == fleet.bytes_received > 34 * 100
    assert told[-1] == "20 of 20 connected"


def test_what_does_not_come_is_missing(service):
    with Fleet(Crowd(service.url, API_KEY, 4, 2), processes=2) as fleet:
        fleet.connect()
        fleet.note_published(1)
        fleet.await_receipts(0.05)
        assert fleet.is_behind
        books = fleet.reconcile(0.0)
        assert (books.is_good, books.faults, books.receipts) == (False, {"missing": 2}, 0)
        assert len(books.examples) == 2


def test_why_not_all_could_connect_is_told(scripted):
    url = scripted(connection_init=["close"]).removesuffix("/graphql")
    with Fleet(Crowd(url, API_KEY, 2), processes=2) as fleet, pytest.raises(SwarmError, match="closed with 4000"):
        fleet.connect()


def test_whoever_looks_on_may_give_up(service):
    def guard(text):
        raise SwarmError("enough")

    with Fleet(Crowd(service.url, API_KEY, 2)) as fleet, pytest.raises(SwarmError, match="enough"):
        fleet.connect(guard=guard)


def test_a_process_that_ends_is_noticed(service):
    with Fleet(Crowd(service.url, API_KEY, 2), processes=2) as fleet:
        fleet.connect()
        os.kill(fleet.pids[0], signal.SIGKILL)
        with pytest.raises(SwarmError, match="has ended"):
            fleet.reconcile(0.0)


def test_processes_end_with_the_context(service):
    with Fleet(Crowd(service.url, API_KEY, 2), processes=2) as fleet:
        pids = fleet.pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_more_connections_than_descriptors_are_refused():
    with pytest.raises(SwarmError, match="do not fit 1 processes"):
        Fleet(Crowd("http://127.0.0.1:1", API_KEY, 2_000_000_000), processes=1)


def test_the_limit_of_descriptors_is_raised():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
