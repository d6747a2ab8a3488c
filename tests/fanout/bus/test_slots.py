"""Slots of commands, and what follows from two maps."""

from __future__ import annotations

import pytest

from fanout.bus.slots import SLOTS, Address, Argument, Server, SlotMap, SlotRange, find_slot, parse_slot_ranges

ONE, TWO, THREE, FOUR = (Server(Address("h", 7000 + number), f"id{number}") for number in range(4))


def test_real_servers_agree_on_slots(shared_cluster: object) -> None:
    from tests.valkey import ValkeyCluster

    assert isinstance(shared_cluster, ValkeyCluster)
    ask = shared_cluster.servers[0].client.execute_command
    for key in ("fanout:events", "fanout:{gateways}:version", "{a}{b}", "{}x", "x{y", "k{ey}"):
        assert find_slot(("GET", key)) == find_slot(("GET", key.encode())) == ask("CLUSTER KEYSLOT", key), key


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "{a}"),
        ("XADD", "{a}x", "*", "f", "v"),
        ("XINFO", "STREAM", "{a}y"),
        ("XREAD", "COUNT", 5, "BLOCK", 100, "STREAMS", b"{a}s", "0-0"),
        ("EVAL", "return 1", 2, "{a}1", "{a}2", "{b}argument"),
        ("xread", "STREAMS", "a", "0"),
    ],
)
def test_the_slot_is_that_of_the_key(command: tuple[Argument, ...]) -> None:
    assert find_slot(command) == find_slot(("GET", "a"))


def test_commands_without_a_key_go_anywhere() -> None:
    assert [find_slot(command) for command in (("PING",), ("MULTI",), ("exec",), ("CLUSTER", "SLOTS"))] == [None] * 4


def test_a_map_is_read_from_the_answer_of_a_server() -> None:
    answer = [
        [0, 99, [b"h", 7000, b"id0", []], [b"h", 7001, b"id1", []]],
        [100, SLOTS - 1, [None, 7002, b"id2", []], [b"", 7003, b"id3"]],
    ]
    ranges = parse_slot_ranges(answer, "h")
    assert ranges == [SlotRange(0, 99, ONE, (TWO,)), SlotRange(100, SLOTS - 1, THREE, (FOUR,))]
    slot_map = SlotMap(ranges)
    assert (slot_map.owner(0), slot_map.owner(99), slot_map.owner(100)) == (ONE, ONE, THREE)
    assert slot_map.primaries == (ONE.address, THREE.address)
    assert slot_map.replicas == (TWO.address, FOUR.address)


def test_a_replica_that_has_taken_over_is_told_from_a_slot_that_was_moved() -> None:
    before = SlotMap([SlotRange(0, 99, ONE, (TWO,)), SlotRange(100, SLOTS - 1, THREE, (FOUR,))])
    followed = SlotMap([SlotRange(0, 99, TWO, ()), SlotRange(100, SLOTS - 1, THREE, (FOUR,))])
    assert followed.find_failed_over(before) == frozenset(range(100))
    moved = SlotMap([SlotRange(0, 49, ONE, (TWO,)), SlotRange(50, SLOTS - 1, THREE, (FOUR,))])
    assert moved.find_failed_over(before) == frozenset()
    # The last of a server's slots were moved: it owns none any more, but who has them was known as a primary.
    emptied = SlotMap([SlotRange(0, SLOTS - 1, THREE, (FOUR,))])
    assert emptied.find_failed_over(before) == frozenset()
    # To a new primary, while the old one goes on.
    new = Server(Address("h", 7009), "id9")
    added = SlotMap([SlotRange(0, 9, new, ()), SlotRange(10, 99, ONE, (TWO,)), SlotRange(100, SLOTS - 1, THREE, ())])
    assert added.find_failed_over(before) == frozenset()
    replaced = SlotMap([SlotRange(0, 99, new, ()), SlotRange(100, SLOTS - 1, THREE, ())])
    assert replaced.find_failed_over(before) == frozenset(range(100))


def test_slots_that_nobody_serves_for_a_while_keep_their_owner_in_mind() -> None:
    before = SlotMap([SlotRange(0, 99, ONE, (TWO,)), SlotRange(100, SLOTS - 1, THREE, ())])
    gap = SlotMap([SlotRange(100, SLOTS - 1, THREE, ())])
    assert gap.owner(5) is None
    filled = gap.fill_in(before)
    assert filled.owner(5) == ONE
    assert before.fill_in(gap) is before
