from collections.abc import Callable
from contextlib import closing

import httpx
import pytest

from loadtest import chat
from loadtest.processes import Service
from loadtest.swarm import Swarm, SwarmError
from tests.loadtest.conftest import API_KEY, PUBLISHER_KEY


def _publish_to(service: Service) -> Callable[[str, str], None]:
    def publish(room: str, key: str) -> None:
        event = chat.build_event(key, room, "2026-01-01T00:00:00.000Z")
        httpx.post(f"{service.url}/events", json=event, headers={"x-api-key": PUBLISHER_KEY}).raise_for_status()

    return publish


def test_every_connection_receives_every_event_of_its_room(service):
    with closing(Swarm(service.url, API_KEY, ["a", "b"], 25, window=4)) as swarm:
        assert swarm.connect() > 0
        for room in (0, 1, 0):
            assert swarm.broadcast(room, _publish_to(service)) > 0
        swarm.settle(0)
        assert (swarm.receipts, dict(swarm.faults)) == (13 + 12 + 13, {})
        assert swarm.describe_faults() == "no faults"


def test_messages_that_arrive_together_and_in_pieces_are_counted(service):
    with closing(Swarm(service.url, API_KEY, ["a"], 2)) as swarm:
        swarm.connect()
        taken = []
        take = swarm._take
        swarm._take = lambda number, data: taken.append((number, data))

        for key in ("0/1/", "0/2/"):
            _publish_to(service)("a", key)
        while sum(data.count(b"0/2/") for _, data in taken) < 2:
            assert swarm._poll(10)
        swarm._published[0] = 2
        swarm._take = take
        for number in (0, 1):
            data = b"".join(piece for owner, piece in taken if owner == number)
            pieces = [data] if number == 0 else [data[start : start + 7] for start in range(0, len(data), 7)]
            for piece in pieces:
                swarm._take(number, piece)
            assert swarm._next[number] == 3


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ({"connection_init": ["close"]}, "closed with 4000 as told"),
        ({"connection_init": [{"type": "connection_error"}]}, "while initialising: .*connection_error"),
        ({}, "0 of 2 live, {'initialising': 2}"),
        ({"connection_init": [{"type": "connection_ack"}], "start": [{"type": "start_ack", "id": "x"}]}, "start_ack"),
    ],
)
def test_what_kept_connections_from_being_made_is_told(scripted, replies, why):
    url = scripted(**replies).removesuffix("/graphql")
    with closing(Swarm(url, API_KEY, ["a"], 2)) as swarm, pytest.raises(SwarmError, match=why):
        swarm.connect(timeout_s=0.2)


def test_nobody_there():
    with (
        closing(Swarm("http://127.0.0.1:1", API_KEY, ["a"], 1)) as swarm,
        pytest.raises(SwarmError, match="refused"),
    ):
        swarm.connect()


def _answer(*sequences: str) -> list[object]:
    """A peer that answers `start` with the ack and then with these `room/sequence` events."""
    return [{"type": "start_ack", "id": "$id"}] + [
        {"type": "data", "id": "$id", "payload": {"data": {"onCreateMessage": {"content": f"{sequence}/"}}}}
        for sequence in sequences
    ]


@pytest.mark.parametrize(
    ("answer", "faults"),
    [
        (_answer("0/1", "0/2"), {}),
        (_answer("0/1", "0/1", "0/2"), {"duplicate or out of order": 1}),
        (_answer("0/2"), {"missing": 1}),
        (_answer("0/2", "0/1"), {"missing": 1, "duplicate or out of order": 1}),
        (_answer("0/1", "1/1", "0/2"), {"stray": 1}),
        (_answer("0/1"), {"missing": 1}),
        ([*_answer("0/1"), "close"], {"missing": 1, "connection": 1}),
        ([*_answer("0/1"), {"type": "complete", "id": "$id"}], {"missing": 1, "connection": 1}),
        ([*_answer("0/1"), _answer("0/2")[1] | {"id": "another"}], {"missing": 1, "connection": 1}),
    ],
    ids=["right", "duplicate", "missing", "swapped", "stray", "last missing", "closed", "ended", "foreign id"],
)
def test_wrong_deliveries_are_faults(scripted, answer, faults):
    url = scripted(connection_init=[{"type": "connection_ack"}, {"type": "ka"}], start=answer)
    with closing(Swarm(url.removesuffix("/graphql"), API_KEY, ["a", "b"], 1)) as swarm:
        # What the peer will have sent unasked counts as published.
        swarm._published[0], swarm._due = 1, 1
        try:
            swarm.connect()
        except SwarmError:
            pass  # the fault came with the ack
        swarm.broadcast(0, lambda room, key: None, timeout_s=0.2)
        while dict(swarm.faults) != faults and swarm._poll(1):
            pass
        assert dict(swarm.faults) == faults


def test_only_loopback_is_loaded():
    with pytest.raises(ValueError, match=r"127\.x\.x\.x"):
        Swarm("http://192.0.2.1:80", API_KEY, ["a"], 1)
