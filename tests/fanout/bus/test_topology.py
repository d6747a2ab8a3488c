"""The shared map: owners, moves that a server told, and failovers told once."""

from __future__ import annotations

from fanout.bus.slots import SLOTS, Address, Server, SlotRange
from fanout.bus.topology import Topology

ONE, TWO, THREE = (Server(Address("h", 7000 + number), f"id{number}") for number in range(3))


def test_a_single_server_has_no_map() -> None:
    topology = Topology()
    assert not topology.is_known
    topology.set_single()
    assert topology.is_known
    assert topology.map is None


def test_owners_and_moves() -> None:
    topology = Topology()
    assert topology.find_owner(5) is None
    topology.update([SlotRange(0, 99, ONE, ())])
    assert topology.find_owner(5) == ONE.address
    assert topology.find_owner(100) is None
    topology.note_moved(5, TWO.address)
    assert topology.is_stale
    assert topology.find_owner(5) == TWO.address
    assert topology.find_owner(6) == ONE.address
    topology.update([SlotRange(0, 5, TWO, ()), SlotRange(6, 99, ONE, ())])
    assert not topology.is_stale
    assert topology.find_owner(5) == TWO.address


def test_a_failover_is_told_once_also_when_the_slots_were_served_by_nobody_in_between() -> None:
    topology = Topology()
    told: list[frozenset[int]] = []
    topology.failed_over = told.append
    healthy = [SlotRange(0, 99, ONE, (TWO,)), SlotRange(100, SLOTS - 1, THREE, ())]
    after = [SlotRange(0, 99, TWO, ()), SlotRange(100, SLOTS - 1, THREE, ())]
    topology.update(healthy)
    topology.update(healthy)
    topology.update(after[1:])
    assert topology.find_owner(0) == ONE.address
    assert told == []
    topology.update(after)
    topology.update(after)
    assert told == [frozenset(range(100))]
