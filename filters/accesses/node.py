"""A node: a table of AND-groups, found by what an event has. Knows groups and their conditions, no keys or owners.

A group hangs on one access, at each of its spots; a group that offers none is *scanned*: proposed for every event.
The best rank decides, and within a rank the access that fewest groups hang on. A spot on which more than `CROWD`
groups hang becomes a node of its own, in which they hang on what other paths offer. So a million filters on one room
and a user each are found by room, then user, as by a key of both; and a range or prefix beside the room does as well.

What a path costs when it is in use: the smaller of the number of paths and of the event's own fields is looked up, so
a client that invents paths adds nothing to the events that do not have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from filters.accesses.bounds import Bounds
from filters.accesses.choice import Access, Spot, Store, list_accesses
from filters.accesses.elements import Elements
from filters.accesses.equality import Absences, Values
from filters.accesses.intervals import Intervals
from filters.accesses.needles import Needles
from filters.accesses.prefixes import Prefixes
from filters.compile import Step
from filters.model import Group, Path
from filters.operators import Operator

T = TypeVar("T")

CROWD = 16
"""Groups that may hang on one spot. Testing as many takes about 4 us; a node of its own costs 1 us and 1 KB."""


class Slot(Generic[T]):
    """An AND-group in the index.

    Args:
        owner: whom the group belongs to.
        group: its conditions, in canonical form.
    """

    __slots__ = ("group", "owner", "steps")

    def __init__(self, owner: T, group: Group) -> None:
        self.owner = owner
        self.group = group
        self.steps: tuple[Step, ...] = ()
        """What is left to test when it was found."""


Find = Callable[[Any], Iterable[Any]]


class SpotStore(Protocol):
    """What a node needs of the stores: a mapping from keys to members that also finds them.

    Members are a slot, a dict with slots as keys, or a node. Most spots have one slot for life, and there may be a
    million: a dict for each would take 232 bytes more.
    """

    def get(self, key: Any, /) -> Any: ...
    def __setitem__(self, key: Any, members: Any, /) -> None: ...
    def __delitem__(self, key: Any, /) -> None: ...
    def __len__(self) -> int: ...
    def find(self, field: Any, /) -> Iterable[Any]: ...


# For each store, how to make it and what an event must have at the path for it to be asked.
_NUMBER, _STRING = (int, float), (str,)
_STORES: dict[Store, tuple[Callable[[], Any], tuple[type, ...]]] = {
    Store.VALUES: (Values, (str, int, float, bool)),
    Store.ELEMENTS: (Elements, (list,)),
    Store.NEEDLES: (Needles, _STRING),
    Store.PREFIXES: (Prefixes, _STRING),
    Store.NUMBERS_LT: (partial(Bounds, Operator.LT), _NUMBER),
    Store.NUMBERS_LE: (partial(Bounds, Operator.LE), _NUMBER),
    Store.NUMBERS_GT: (partial(Bounds, Operator.GT), _NUMBER),
    Store.NUMBERS_GE: (partial(Bounds, Operator.GE), _NUMBER),
    Store.NUMBER_INTERVALS: (Intervals, _NUMBER),
    Store.STRINGS_LT: (partial(Bounds, Operator.LT), _STRING),
    Store.STRINGS_LE: (partial(Bounds, Operator.LE), _STRING),
    Store.STRINGS_GT: (partial(Bounds, Operator.GT), _STRING),
    Store.STRINGS_GE: (partial(Bounds, Operator.GE), _STRING),
    Store.STRING_INTERVALS: (Intervals, _STRING),
}


class _Branch:
    """What is known of one name in an object: the stores of the path that ends here, and the names below it."""

    __slots__ = ("below", "finders", "lookups", "stores")

    def __init__(self) -> None:
        self.below: dict[str, _Branch] = {}
        self.stores: dict[Store, SpotStore] = {}
        self.finders: dict[type, list[Find]] = {}
        """What to ask, by the class of what the event has here."""
        self.lookups: dict[type, Callable[[Any], Any]] = {}
        """Beside that, for classes whose values are themselves the keys: half the time for the most usual question."""

    def renew_finders(self) -> None:
        self.finders, self.lookups = {}, {}
        for kind, store in self.stores.items():
            for class_ in _STORES[kind][1]:
                if kind is Store.VALUES and class_ is not bool:
                    self.lookups[class_] = store.get
                else:
                    self.finders.setdefault(class_, []).append(store.find)


class Node(Generic[T]):
    """A table of slots.

    Args:
        used_paths: paths that an event has already been looked up by on the way here; they are not used again.
    """

    __slots__ = ("_absences", "_branches", "_used_paths", "scanned", "size")

    def __init__(self, used_paths: tuple[Path, ...] = ()) -> None:
        self._used_paths = used_paths
        self._branches: dict[str, _Branch] = {}
        self._absences: Absences[Any] = Absences()
        self.scanned: dict[Slot[T], None] = {}
        """The slots that every event is tested for."""
        self.size = 0
        """How many slots there are, each counted once."""

    def add(self, slot: Slot[T]) -> Access | None:
        """Add a slot that is not there yet. Returns the access that it hangs on; None: it is scanned.

        Cost: 3 to 15 us, whatever the size; the one in `CROWD` that makes a spot a node, as much for each there.
        """
        self.size += 1
        accesses = self._list_accesses(slot)
        if not accesses:
            self.scanned[slot] = None
            return None
        access = accesses[0]
        if len(accesses) > 1 and accesses[1].rank == access.rank:
            access = min((each for each in accesses if each.rank == access.rank), key=self._count_beside)
        for spot in access.spots:
            self._hang(access.path, spot, slot)
        return access

    def discard(self, slot: Slot[T]) -> bool:
        """Remove a slot, if it is there. Returns whether it was. Cost: as for `add`."""
        if slot in self.scanned:
            del self.scanned[slot]
            self.size -= 1
            return True
        # Which access was chosen depends on what there was then, so each is tried; they share no spot.
        for access in self._list_accesses(slot):
            if all(self._unhang(access.path, spot, slot) for spot in access.spots):
                self.size -= 1
                return True
        return False

    def find(self, event: dict[str, Any]) -> list[Any]:
        """What an event has to be tested for: slots, dicts with slots as keys, and nodes, in a list to be used up.

        Cost: 0.5 us, and what the stores take that are asked.
        """
        found: list[Any] = []
        if self.scanned:
            found.extend(self.scanned)
        if self._absences:
            found.extend(self._absences.find(event))
        _find_below(self._branches, event, found)
        return found

    def count_spots(self) -> dict[str, int]:
        """How many keys each store has, by dotted path and store, for people."""
        counts = {f"{'.'.join(path)} {Store.ABSENCES.value}": 1 for path in self._absences}
        pending: list[tuple[Path, _Branch]] = [((name,), branch) for name, branch in self._branches.items()]
        for path, branch in pending:
            counts |= {f"{'.'.join(path)} {kind.value}": len(store) for kind, store in branch.stores.items()}
            pending += [((*path, name), below) for name, below in branch.below.items()]
        return dict(sorted(counts.items()))

    def _list_accesses(self, slot: Slot[T]) -> list[Access]:
        used, group = self._used_paths, slot.group
        return list_accesses([each for each in group if each.path not in used] if used else group)

    def _count_beside(self, access: Access) -> int:
        """How many slots are found together with one that hangs on this access."""
        count = 0
        for spot in access.spots:
            store = self._store(access.path, spot.store)
            members = None if store is None else store.get(spot.key)
            if members is not None:
                count += 1 if members.__class__ is Slot else members.size if isinstance(members, Node) else len(members)
        return count

    def _hang(self, path: Path, spot: Spot, slot: Slot[T]) -> None:
        store = self._store(path, spot.store)
        if store is None:
            store = self._create_store(path, spot.store)
        members = store.get(spot.key)
        if members is None:
            store[spot.key] = slot
        elif isinstance(members, Node):
            members.add(slot)
        elif isinstance(members, Slot):
            store[spot.key] = {members: None, slot: None}
        elif len(members) < CROWD:
            members[slot] = None
        else:
            node: Node[T] = Node((*self._used_paths, path))
            for each in (*members, slot):
                node.add(each)
            store[spot.key] = node

    def _unhang(self, path: Path, spot: Spot, slot: Slot[T]) -> bool:
        store = self._store(path, spot.store)
        members = None if store is None else store.get(spot.key)
        if store is None or members is None:
            return False
        if isinstance(members, Node):
            if not members.discard(slot):
                return False
            if members.size:
                return True
        elif isinstance(members, dict):
            if slot not in members:
                return False
            del members[slot]
            if len(members) == 1:
                [store[spot.key]] = members
            return True
        elif members is not slot:
            return False
        del store[spot.key]
        if not store:
            self._drop_store(path, spot.store)
        return True

    def _store(self, path: Path, kind: Store) -> SpotStore | None:
        if kind is Store.ABSENCES:
            absences: SpotStore = self._absences
            return absences
        branch = self._branches.get(path[0])
        for name in path[1:]:
            if branch is None:
                return None
            branch = branch.below.get(name)
        return None if branch is None else branch.stores.get(kind)

    def _create_store(self, path: Path, kind: Store) -> SpotStore:
        below = self._branches
        for name in path:
            branch = below.setdefault(name, _Branch())
            below = branch.below
        store: SpotStore = _STORES[kind][0]()
        branch.stores[kind] = store
        branch.renew_finders()
        return store

    def _drop_store(self, path: Path, kind: Store) -> None:
        if kind is Store.ABSENCES:
            return
        trail = []
        below = self._branches
        for name in path:
            trail.append((below, name))
            below = below[name].below
        parent, name = trail[-1]
        del parent[name].stores[kind]
        parent[name].renew_finders()
        for parent, name in reversed(trail):
            if parent[name].stores or parent[name].below:
                return
            del parent[name]


def _find_below(branches: dict[str, _Branch], fields: dict[str, Any], found: list[Any]) -> None:
    names: Iterable[str] = branches if len(branches) <= len(fields) else [name for name in fields if name in branches]
    for name in names:
        field = fields.get(name)
        if field is None:
            continue
        branch = branches[name]
        class_ = field.__class__
        if class_ is dict:
            if branch.below:
                _find_below(branch.below, field, found)
            continue
        look_up = branch.lookups.get(class_)
        if look_up is not None:
            members = look_up(field)
            if members is not None:
                found.append(members)
        for find in branch.finders.get(class_, ()):
            found.extend(find(field))
