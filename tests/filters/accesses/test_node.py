"""Nodes: crowds get nodes of their own and give them back, and paths cost only the events that have them."""

from __future__ import annotations

from typing import Any

import pytest

from filters.accesses.node import CROWD, Node, Slot
from filters.model import Group
from filters.parse import build_equality_filter, parse_filter

Conditions = list[tuple[str, str, Any]]


def slot_of(name: str, conditions: Conditions) -> Slot[str]:
    filters = [{"fieldName": path, "operator": operator, "value": value} for path, operator, value in conditions]
    [group] = parse_filter({"filterGroup": [{"filters": filters}]}).groups
    return Slot(name, group)


def proposed(node: Node[str], event: dict[str, Any]) -> list[str]:
    """The owners of all slots that a node proposes for an event."""
    owners = []
    for members in node.find(event):
        if isinstance(members, Node):
            owners += proposed(members, event)
        else:
            owners += [slot.owner for slot in ((members,) if isinstance(members, Slot) else members)]
    return sorted(owners)


def test_a_crowd_on_one_value_is_told_apart_by_another_path() -> None:
    """10,000 in a hundred rooms and a hundred users: neither alone tells apart what it finds, both do."""
    node: Node[str] = Node()
    slots = [slot_of(f"{r} {u}", [("room", "eq", r), ("user", "eq", u)]) for r in range(100) for u in range(100)]
    for slot in slots:
        node.add(slot)
    for room, user in ((3, 55), (99, 0), (0, 99)):
        found = proposed(node, {"room": room, "user": user})
        assert f"{room} {user}" in found
        assert len(found) <= CROWD, "only what came before the spot was a crowd may be in vain"
    for slot in slots:
        assert node.discard(slot)
        assert not node.discard(slot)
    assert node.count_spots() == {}
    assert node.size == 0


@pytest.mark.parametrize(
    ("operator", "operand", "field"),
    [
        ("between", lambda number: [number, number + 1], 7.5),
        ("beginsWith", lambda number: f"{number:04}", "0007 seven"),
        ("contains", lambda number: f"{number:04}", "it is 0007 now"),
        ("contains", lambda number: number, [7]),
    ],
)
def test_a_crowd_is_told_apart_by_whatever_there_is(operator: str, operand: Any, field: object) -> None:
    node: Node[str] = Node()
    for number in range(1000):
        node.add(slot_of(str(number), [("room", "eq", "lobby"), ("field", operator, operand(number))]))
    assert proposed(node, {"room": "lobby", "field": field}) == ["7"]
    assert proposed(node, {"room": "other", "field": field}) == []


def test_a_crowd_that_nothing_tells_apart_is_proposed_as_a_whole() -> None:
    node: Node[str] = Node()
    slots = [slot_of(str(number), [("room", "eq", "lobby"), ("user", "ne", number)]) for number in range(CROWD * 2)]
    for slot in slots:
        node.add(slot)
    assert len(proposed(node, {"room": "lobby"})) == CROWD * 2
    for slot in slots[1:]:
        assert node.discard(slot)
    assert proposed(node, {"room": "lobby"}) == ["0"]


def test_a_spot_is_shared_by_up_to_a_crowd_without_a_node() -> None:
    node: Node[str] = Node()
    slots = [
        slot_of(str(number), [("room", "eq", "lobby"), ("user", "beginsWith", str(number))]) for number in range(9)
    ]
    for slot in slots:
        node.add(slot)
    assert len(proposed(node, {"room": "lobby"})) == 9
    for slot in slots:
        assert node.discard(slot)
    assert proposed(node, {"room": "lobby"}) == []


class Counted(dict[str, Any]):
    """A dict that counts how often it is asked."""

    asked = 0

    def get(self, name: str, default: Any = None) -> Any:
        Counted.asked += 1
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        Counted.asked += 1
        return super().__contains__(name)


def test_many_paths_cost_only_the_events_that_have_them() -> None:
    node: Node[str] = Node()
    for number in range(5000):
        node.add(slot_of(str(number), [(f"invented{number}.by.a.client", "eq", 1)]))
    Counted.asked = 0
    assert proposed(node, Counted(room="x", invented77={"by": {"a": {"client": 1}}})) == ["77"]
    assert Counted.asked == 1


def test_paths_below_one_another() -> None:
    node: Node[str] = Node()
    slots = [slot_of(path, [(path, "eq", 1)]) for path in ("a", "a.b", "a.b.c", "a.d")]
    for slot in slots:
        node.add(slot)
    assert proposed(node, {"a": 1}) == ["a"]
    assert proposed(node, {"a": {"b": 1, "d": 1}}) == ["a.b", "a.d"]
    assert proposed(node, {"a": {"b": {"c": 1}}}) == ["a.b.c"]
    for slot in slots[:2]:
        assert node.discard(slot)
    assert node.count_spots() == {"a.b.c values": 1, "a.d values": 1}
    assert proposed(node, {"a": {"b": {"c": 1}}}) == ["a.b.c"]


def test_a_slot_that_was_never_added_is_not_discarded() -> None:
    group: Group = build_equality_filter({"room": "x"}).groups[0]
    node: Node[str] = Node()
    node.add(Slot("there", group))
    assert not node.discard(Slot("not there", group))
    assert proposed(node, {"room": "x"}) == ["there"]
