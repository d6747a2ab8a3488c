import pytest

from loadtest.fleet import Fleet
from loadtest.marks import Mark
from loadtest.reference import run_reference
from loadtest.swarm import Crowd


@pytest.mark.parametrize("websockets", ["websockets-sansio", "wsproto"])
def test_everybody_in_a_room_is_sent_the_event(websockets):
    with (
        run_reference(websockets=websockets) as reference,
        Fleet(Crowd(reference.url, "", 9, 2)) as fleet,
    ):
        fleet.connect()
        fleet.note_published(0, 2)
        reference.publish([Mark(0, 1, 0), Mark(0, 2, 0)])
        fleet.await_receipts()
        books = fleet.reconcile(0.0)
        assert (books.is_good, books.receipts) == (True, 10)
