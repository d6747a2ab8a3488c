import json

import pytest
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State

from loadtest.fleet import Fleet
from loadtest.floor import build_frame_parts, compile_floor, run_floor
from loadtest.marks import EVERYBODY, Mark, build_id
from loadtest.processes import ProcessError
from loadtest.swarm import Crowd, Opening


@pytest.mark.parametrize("message", [b'{"id":"1"}', b'{"id":"%s"}' % (b"x" * 300)])
def test_the_frame_is_a_data_message(message):
    head, tail = build_frame_parts(message)
    peer = Protocol(Side.CLIENT, state=State.OPEN)
    peer.receive_data(head + build_id(3).encode() + tail)
    (frame,) = peer.events_received()
    assert frame.opcode is Opcode.TEXT
    assert json.loads(frame.data) == {
        "id": build_id(3),
        "type": "data",
        "payload": {"data": {"onCreateMessage": json.loads(message)}},
    }


@pytest.mark.parametrize("kind", ["C", "Python"])
def test_everybody_in_a_room_is_sent_the_event(kind, tmp_path):
    program = compile_floor(tmp_path) if kind == "C" else None
    if kind == "C" and program is None:
        return  # no compiler here: then the floor is the one in Python, which the other case tests
    with run_floor(20, 3, program) as floor:
        assert floor.kind == kind
        with Fleet(Crowd(floor.url, "", 20, 3, opening=Opening.BARE)) as fleet:
            fleet.connect()
            fleet.note_published(1, 2)
            fleet.note_published(2)
            floor.publish([Mark(1, 1, 0), Mark(2, 1, 0), Mark(1, 2, 0)])
            fleet.await_receipts()
            books = fleet.reconcile(0.0)
            assert (books.is_good, books.receipts) == (True, 7 + 6 + 7)


def test_everybody_is_one_room_of_one(tmp_path):
    with (
        run_floor(5, 2, compile_floor(tmp_path)) as floor,
        Fleet(Crowd(floor.url, "", 5, 2, hears_everybody=True, opening=Opening.BARE)) as fleet,
    ):
        fleet.connect()
        fleet.note_published(EVERYBODY)
        floor.publish([Mark(EVERYBODY, 1, 0)])
        fleet.await_receipts()
        assert fleet.reconcile(0.0).receipts == 5


def test_without_a_compiler_there_is_no_program(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_floor(tmp_path) is None


def test_a_compiler_that_refuses_is_told(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho cannot >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ProcessError, match="cannot"):
        compile_floor(tmp_path)
