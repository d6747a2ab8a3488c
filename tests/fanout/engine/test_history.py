"""Places are compared as ids are."""

from fanout.engine.history import find_place
from fanout.model import Event


def test_a_place_is_the_id_as_numbers() -> None:
    places = [find_place(Event(id, "m", None, b"null", 0)) for id in ("0-1", "9-0", "9-10", "10-2")]
    assert places == [(0, 1), (9, 0), (9, 10), (10, 2)] == sorted(places)
