"""The filter index: which of many filters match an event. Knows nothing of who uses it.

Every AND-group hangs on one condition, its *access*: the one that fewest filters hang on when it is added. Filters
that ask for a value at a path are found by hashing what the event has there, so that a match does not cost more when
there are more filters that do not fit; filters with a group that offers no access are scanned. Accesses only propose:
a filter's predicate decides, once per distinct filter, and it leaves out only what the lookup itself has established.

Another kind of access (by prefix, by range, by list element) is another class with the methods of `_EqualityAccess`,
offered by `access_candidates` for more operators.

HOT: `match` runs once per event, on the event loop. Budget: 3 us + 0.5 us per candidate. Measured with
`python -m tests.bench.measure_filters` (2-core machine, Python 3.11; filters with an `eq` on a room and two other
conditions, all distinct): 0.3 us without and 0.8 us with a match among 1,000; 0.3 us and 2.8 us among 1,000,000, where
what is touched is not in the processor's caches; 1.5 KB per filter, and 0.7 KB for filters of the one `eq`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Generic, TypeVar

from filters.buckets import access_candidates, access_values
from filters.compile import Predicate, compile_conditions, compile_filter
from filters.model import Condition, Filter, Path
from filters.operators import Scalar, read_path

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Hashable)

# Most sets here have one member for life: a tuple takes 64 bytes for it, a dict (for its order) 248.
_SmallSet = tuple[T] | dict[T, None]

# As members of a dict or set, true and 1 would be the same.
_TRUE, _FALSE = object(), object()
_NOTHING_FOUND: tuple[()] = ()


class _Entry(Generic[K]):
    """One distinct filter and the keys that were added with it.

    `accesses` are the conditions that it is found by, one per AND-group; none: it is scanned. `may_repeat` tells that
    one event can find it by several paths. `predicate` is what is left to decide then; None: nothing.
    """

    __slots__ = ("accesses", "filter", "keys", "may_repeat", "predicate")

    def __init__(self, filter: Filter, key: K, accesses: tuple[Condition, ...]) -> None:
        self.filter = filter
        self.keys: _SmallSet[K] = (key,)
        self.accesses = accesses
        self.may_repeat = len(accesses) > 1 and len({access.path for access in accesses}) > 1
        self.predicate = _compile_rest(filter, accesses)


class _EqualityAccess(Generic[K]):
    """Entries by the value that they ask for at one path; see `_hashable` for true and false."""

    __slots__ = ("_entries_by_value", "_name", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = path[0] if len(path) == 1 else None
        self._entries_by_value: dict[object, _SmallSet[_Entry[K]]] = {}

    def add(self, value: object, entry: _Entry[K]) -> None:
        self._entries_by_value[value] = _with(self._entries_by_value.get(value), entry)

    def remove(self, value: object, entry: _Entry[K]) -> None:
        """Take out what `add` put in."""
        remaining = _without(self._entries_by_value[value], entry)
        if remaining is None:
            del self._entries_by_value[value]
        else:
            self._entries_by_value[value] = remaining

    def find(self, event: dict[str, Any]) -> Iterable[_Entry[K]]:
        """The entries that an event could match by this path, each once."""
        value: Any = event.get(self._name) if self._name is not None else read_path(event, self._path)
        kind = value.__class__
        if kind is bool:
            value = _TRUE if value else _FALSE
        elif kind is list or kind is dict:
            return _NOTHING_FOUND
        return self._entries_by_value.get(value, _NOTHING_FOUND)

    def count(self, value: object) -> int:
        """How many entries an event with this value would find."""
        return len(self._entries_by_value.get(value, _NOTHING_FOUND))

    def __len__(self) -> int:
        return len(self._entries_by_value)


class FilterIndex(Generic[K]):
    """A set of keys, each with a filter, found by the events that match it.

    Not thread-safe: one owner, one thread. Adding and removing take time by the size of the one filter, whatever the
    size of the index.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[K]] = {}
        self._entries_by_key: dict[K, _Entry[K]] = {}
        self._accesses: dict[Path, _EqualityAccess[K]] = {}
        self._scanned: dict[_Entry[K], None] = {}

    def add(self, key: K, filter: Filter) -> None:
        """Add a key, to be returned by `match` for every event that matches the filter.

        Raises:
            ValueError: the index has the key already.
        """
        if key in self._entries_by_key:
            raise ValueError(f"the index already has the key {key!r}")
        entry = self._entries.get(filter.key)
        if entry is None:
            entry = self._entries[filter.key] = _Entry(filter, key, self._choose_accesses(filter))
            self._place(entry)
        else:
            entry.keys = _with(entry.keys, key)
        self._entries_by_key[key] = entry

    def remove(self, key: K) -> None:
        """Remove a key.

        Raises:
            KeyError: the index does not have the key.
        """
        entry = self._entries_by_key.pop(key)
        remaining = _without(entry.keys, key)
        if remaining is None:
            del self._entries[entry.filter.key]
            self._displace(entry)
        else:
            entry.keys = remaining

    def match(self, event: object) -> list[K]:
        """The keys whose filters an event matches, each once, in no particular order.

        Args:
            event: parsed JSON: dict, list, str, int, float, bool and None, and no subclasses of them.

        Returns:
            A list of the caller's own: the index may be changed while it is walked through.

        Cost: a dict lookup per path that any filter is looked up by, and one predicate per distinct filter that was
        found so or can only be scanned.
        """
        if event.__class__ is not dict:
            event = {}
        matched: list[K] = []
        decided: set[_Entry[K]] | None = None
        for access in self._accesses.values():
            for entry in access.find(event):
                if entry.may_repeat:
                    if decided is None:
                        decided = set()
                    elif entry in decided:
                        continue
                    decided.add(entry)
                predicate = entry.predicate
                if predicate is None or predicate(event):
                    matched.extend(entry.keys)
        for entry in self._scanned:
            predicate = entry.predicate
            if predicate is None or predicate(event):
                matched.extend(entry.keys)
        return matched

    def __contains__(self, key: object) -> bool:
        return key in self._entries_by_key

    def __len__(self) -> int:
        return len(self._entries_by_key)

    def __repr__(self) -> str:
        accesses = ", ".join(f"{'.'.join(path)}: {len(access)} values" for path, access in self._accesses.items())
        return (
            f"<FilterIndex: {len(self._entries_by_key)} keys, {len(self._entries)} filters, "
            f"{len(self._scanned)} scanned, accesses {{{accesses}}}>"
        )

    def _choose_accesses(self, filter: Filter) -> tuple[Condition, ...]:
        chosen = []
        for group in filter.groups:
            candidates = access_candidates(group)
            if not candidates:
                return ()
            chosen.append(candidates[0] if len(candidates) == 1 else min(candidates, key=self._count_beside))
        return tuple(chosen)

    def _count_beside(self, condition: Condition) -> int:
        """How many entries are found together with one that hangs on this condition."""
        access = self._accesses.get(condition.path)
        if access is None:
            return 0
        return sum(access.count(_hashable(value)) for value in access_values(condition))

    def _place(self, entry: _Entry[K]) -> None:
        if not entry.accesses:
            self._scanned[entry] = None
        for path, value in _places_of(entry):
            access = self._accesses.get(path)
            if access is None:
                access = self._accesses[path] = _EqualityAccess(path)
            access.add(value, entry)

    def _displace(self, entry: _Entry[K]) -> None:
        if not entry.accesses:
            del self._scanned[entry]
        for path, value in _places_of(entry):
            access = self._accesses[path]
            access.remove(value, entry)
            if not len(access):
                # From now on no event is asked for this path.
                del self._accesses[path]


def _places_of(entry: _Entry[K]) -> Iterable[tuple[Path, object]]:
    """The paths and values that an entry is found by, each pair once even if several groups have it."""
    places = [(access.path, _hashable(value)) for access in entry.accesses for value in access_values(access)]
    return places if len(entry.accesses) == 1 else dict.fromkeys(places)


def _compile_rest(filter: Filter, accesses: tuple[Condition, ...]) -> Predicate | None:
    """What is left to decide about a filter that an access, or the scan, has come to."""
    if len(filter.groups) > 1:
        return compile_filter(filter)
    # The lookup is the only way to a filter of one group: what it was looked up by is known to hold.
    rest = [condition for condition in filter.groups[0] if not any(condition is access for access in accesses)]
    return compile_conditions(rest) if rest else None


def _hashable(value: Scalar) -> object:
    return value if value.__class__ is not bool else _TRUE if value else _FALSE


def _with(members: _SmallSet[T] | None, member: T) -> _SmallSet[T]:
    if members is None:
        return (member,)
    if isinstance(members, tuple):
        return {members[0]: None, member: None}
    members[member] = None
    return members


def _without(members: _SmallSet[T], member: T) -> _SmallSet[T] | None:
    """The set without a member that it has; None when that was the last."""
    if isinstance(members, tuple):
        return None
    del members[member]
    if len(members) > 1:
        return members
    [last] = members
    return (last,)
