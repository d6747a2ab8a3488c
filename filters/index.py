"""The filter index: which of many filters match an event. Knows nothing of who uses it.

Each AND-group of a filter is a slot in a tree of nodes (`filters.accesses`), which proposes slots by what the event
has: by equality, list element, part or beginning of a string, range. Only groups of nothing but `ne`, `notIn` and
`notContains` are proposed for every event. Proposals are tested, once per slot: what is left out of the test is only
what the lookup itself has established.

HOT: `match` runs once per event, on the event loop. Budget: 20 us + 0.5 us per candidate among 1,000,000 filters on a
room and one or two other conditions, 1 ms beside the true matches where all operators are mixed; add or remove 50 us;
1.5 KB per filter. `make bench-matching` measures all of it, and docs/performance.md has the figures.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

from filters.accesses.node import Node, Slot
from filters.compile import compile_steps
from filters.model import Filter
from filters.operators import Operator, read_path

K = TypeVar("K", bound=Hashable)


class _Entry(Generic[K]):
    """One distinct filter, its slots, and the keys that were added with it.

    Most entries have one key and one slot for life, which then stand for themselves; keys are hashable, so no key is
    a dict. `may_repeat` tells that one event can propose it several times.
    """

    __slots__ = ("filter", "keys", "may_repeat", "slots")

    def __init__(self, filter: Filter, key: K) -> None:
        self.filter = filter
        self.keys: K | dict[K, None] = key
        self.slots: Slot[_Entry[K]] | tuple[Slot[_Entry[K]], ...]
        self.may_repeat = False


class FilterIndex(Generic[K]):
    """A set of keys, each with a filter, found by the events that match it.

    Not thread-safe: one owner, one thread. Adding and removing take time by the size of the one filter, and hardly by
    that of the index; nothing is ever rebuilt as a whole.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[K]] = {}
        self._entries_by_key: dict[K, _Entry[K]] = {}
        self._root: Node[_Entry[K]] = Node()

    def add(self, key: K, filter: Filter) -> None:
        """Add a key, to be returned by `match` for every event that matches the filter.

        Raises:
            ValueError: the index has the key already.
        """
        if key in self._entries_by_key:
            raise ValueError(f"the index already has the key {key!r}")
        entry = self._entries.get(filter.key)
        if entry is None:
            entry = self._entries[filter.key] = _Entry(filter, key)
            self._place(entry)
        elif entry.keys.__class__ is dict:
            entry.keys[key] = None
        else:
            entry.keys = {entry.keys: None, key: None}  # type: ignore[dict-item]  # no dict, so the one key
        self._entries_by_key[key] = entry

    def remove(self, key: K) -> None:
        """Remove a key.

        Raises:
            KeyError: the index does not have the key.
        """
        entry = self._entries_by_key.pop(key)
        if entry.keys.__class__ is dict:
            del entry.keys[key]
            if len(entry.keys) == 1:
                [entry.keys] = entry.keys
            return
        del self._entries[entry.filter.key]
        for slot in (entry.slots,) if isinstance(entry.slots, Slot) else entry.slots:
            self._root.discard(slot)

    def match(self, event: object) -> list[K]:
        """The keys whose filters an event matches, each once, in no particular order.

        Args:
            event: parsed JSON: dict, list, str, int, float, bool and None, and no subclasses of them.

        Returns:
            A list of the caller's own: the index may be changed while it is walked through.

        Cost: one lookup for each path that filters are looked up by or each field of the event, whichever is less;
        and one test per distinct filter that was found so or can only be scanned.
        """
        fields: dict[str, Any] = event if event.__class__ is dict else {}
        get = fields.get
        matched: list[K] = []
        tried: set[object] = set()
        nodes = [self._root]
        for node in nodes:
            for members in node.find(fields):
                slots: Iterable[Slot[_Entry[K]]]
                if members.__class__ is Slot:
                    slots = (members,)
                elif members.__class__ is dict:
                    slots = members
                else:
                    nodes.append(members)
                    continue
                for slot in slots:
                    entry = slot.owner
                    if entry.may_repeat:
                        if slot in tried or entry in tried:
                            continue
                        tried.add(slot)
                    for test, path, operand in slot.steps:
                        if not test(get(path) if path.__class__ is str else read_path(fields, path), operand):
                            break
                    else:
                        if entry.may_repeat:
                            tried.add(entry)
                        if entry.keys.__class__ is dict:
                            matched.extend(entry.keys)
                        else:
                            matched.append(entry.keys)  # type: ignore[arg-type]  # the one key
        return matched

    @property
    def filter_count(self) -> int:
        """How many distinct filters the keys have."""
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries_by_key

    def __len__(self) -> int:
        return len(self._entries_by_key)

    def __repr__(self) -> str:
        spots = ", ".join(f"{count} at {name}" for name, count in self._root.count_spots().items())
        return (
            f"<FilterIndex: {len(self)} keys, {self.filter_count} filters, "
            f"{len(self._root.scanned)} scanned, spots {{{spots}}}>"
        )

    def _place(self, entry: _Entry[K]) -> None:
        groups = entry.filter.groups
        # Several elements of one list may find the same group.
        entry.may_repeat = len(groups) > 1 or any(each.operator is Operator.CONTAINS_ANY for each in groups[0])
        slots = []
        for group in groups:
            slot = Slot(entry, group)
            access = self._root.add(slot)
            known = () if access is None else access.conditions
            slot.steps = compile_steps(
                [condition for condition in group if not any(condition is holding for holding in known)]
            )
            slots.append(slot)
        entry.slots = slots[0] if len(slots) == 1 else tuple(slots)
