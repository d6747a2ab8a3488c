import uuid

import pytest

from loadtest.marks import (
    EVERYBODY,
    ID_BYTES,
    Mark,
    build_id,
    build_key,
    count_members,
    name_room,
    read_id,
    read_key,
)


@pytest.mark.parametrize("number", [0, 1, 255, 999_999, 2**32 - 1])
def test_ids_are_uuids_that_tell_their_number(number):
    id = build_id(number)
    assert str(uuid.UUID(id)) == id
    assert len(id) == ID_BYTES
    assert read_id(id) == number


@pytest.mark.parametrize(
    "id", ["", "x", "00000001-0000-4000-8000-000000000001", "0000000G-0000-4000-8000-000000000000"]
)
def test_foreign_ids_are_refused(id):
    with pytest.raises(ValueError, match=r"no id of ours|invalid literal"):
        read_id(id)


@pytest.mark.parametrize("mark", [Mark(0, 1, 0), Mark(999_999, 10**9, 2**62), Mark(EVERYBODY, 3, 4)])
def test_keys_tell_their_mark(mark):
    assert read_key(build_key(mark)) == mark


def test_room_names_differ_and_have_one_length():
    names = [name_room(room) for room in (0, 1, 999_999)]
    assert len(set(names)) == 3
    assert len({len(name) for name in names}) == 1
    assert name_room(EVERYBODY) not in names


@pytest.mark.parametrize("rooms", [1, 3, 7])
@pytest.mark.parametrize(("first", "after"), [(0, 0), (0, 10), (4, 5), (5, 26)])
def test_members_are_counted(rooms, first, after):
    for room in range(rooms):
        expected = sum(1 for number in range(first, after) if number % rooms == room)
        assert count_members(room, rooms, first, after) == expected
    assert count_members(EVERYBODY, rooms, first, after) == after - first
