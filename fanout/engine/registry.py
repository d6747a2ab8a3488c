"""The registry: live subscriptions, in groups, found by event. Knows no connection, only write functions.

Subscribers that share field, filter, selection and framing (dialect, compression, positions) form one group, which is
matched, projected and encoded once, however many they are. This is the one structure that the control path (add,
remove) and the data path (match) share; both run on the event loop, so it needs no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from fanout.metrics import Metrics
from fanout.model import Bucket
from filters import Filter, FilterIndex, bucket_keys

Write = Callable[[bytes], None]
JoinParts = Callable[[Sequence[bytes], int], list[bytes]]
"""From payloads and the length of an id: the list whose join with such an id is the frames of all payloads."""


class Projection(Protocol):
    """What a group needs of `fanout.schema.Projection`."""

    @property
    def key(self) -> str: ...

    def project(self, data: object) -> bytes: ...

    def too_large(self, size: int, limit: int) -> bytes: ...


class GroupKey(NamedTuple):
    """Equal for subscriptions that one event serves with the same bytes, but for the id."""

    field: str
    filter_key: str
    projection_key: str
    framing: str


class Subscription:
    """One live subscription: its id as it stands in the message (JSON string, quotes included) and its group."""

    __slots__ = ("group", "id_bytes")

    def __init__(self, id_bytes: bytes, group: Group) -> None:
        self.id_bytes = id_bytes
        self.group = group


class Pending:
    """A subscriber whose group is not registered yet, and what makes it live when it is."""

    __slots__ = ("go_live", "group")

    def __init__(self, group: Group, go_live: Callable[[], None]) -> None:
        self.group = group
        self.go_live = go_live


class Group:
    """Subscriptions that share field, filter, selection and framing.

    `members` maps an id's length in bytes to the subscriptions with such an id and their write functions: the
    frame header depends on the id through its length only. `last_delivery_ms` tells for all of them when
    something was last written, so that nothing has to be noted per subscriber.
    """

    __slots__ = (
        "buckets",
        "field",
        "is_positioned",
        "is_registered",
        "join_parts",
        "joining",
        "key",
        "last_delivery_ms",
        "members",
        "plan",
        "projection",
        "size",
        "waiting",
    )

    def __init__(
        self,
        key: GroupKey,
        buckets: frozenset[Bucket],
        projection: Projection,
        join_parts: JoinParts,
        is_positioned: bool = False,
    ) -> None:
        self.key = key
        self.field = key.field
        self.buckets = buckets
        self.projection = projection
        self.join_parts = join_parts
        self.members: dict[int, dict[Subscription, Write]] = {}
        self.size = 0
        self.last_delivery_ms = 0
        self.is_registered = False
        """Whether every router sees the group's buckets: only then may a subscriber be acknowledged."""
        self.plan: object = None
        """What its first subscriber's wish came to; its owner's to set and read. It need not stand for all of them."""
        self.is_positioned = is_positioned
        """Whether each payload tells its position."""
        self.joining = 0
        """How many are catching up before they become members (`fanout.engine.catchup`)."""
        self.waiting: dict[Pending, None] = {}
        """Those who came before it is registered, in order."""

    @property
    def is_unused(self) -> bool:
        return self.size == 0 and not self.waiting and not self.joining


class Registry:
    """All groups of one gateway, indexed for matching."""

    def __init__(self, metrics: Metrics) -> None:
        self._groups: dict[GroupKey, Group] = {}
        self._indexes: dict[str, FilterIndex[Group]] = {}
        self._metrics = metrics

    def find_or_create(
        self,
        field: str,
        filter: Filter,
        projection: Projection,
        framing: str,
        join_parts: JoinParts,
        is_positioned: bool = False,
    ) -> tuple[Group, bool]:
        """The group of these, and whether it is new. `framing` names all in which its bytes may differ from those of
        others with the same payloads: what `join_parts` makes (dialect, compression), and positions.

        A new group is matched from the moment its first member is added; until then it only has a name.
        Cost: one dict lookup for an existing group.
        """
        key = GroupKey(field, filter.key, projection.key, framing)
        group = self._groups.get(key)
        if group is not None:
            return group, False
        buckets = frozenset(Bucket(field, path, token) for path, token in bucket_keys(filter))
        group = self._groups[key] = Group(key, buckets, projection, join_parts, is_positioned)
        self._metrics.groups += 1
        index = self._indexes.get(field)
        if index is None:
            index = self._indexes[field] = FilterIndex()
        index.add(group, filter)
        return group, True

    def add(self, group: Group, id_bytes: bytes, write: Write) -> Subscription:
        """Make a subscriber live: from now on every event that matches is written to it."""
        subscription = Subscription(id_bytes, group)
        members = group.members.get(len(id_bytes))
        if members is None:
            members = group.members[len(id_bytes)] = {}
        members[subscription] = write
        group.size += 1
        self._metrics.subscriptions += 1
        return subscription

    def remove(self, subscription: Subscription) -> bool:
        """End a live subscription. Returns whether its group is now unused, and so to be dropped by `drop`."""
        group = subscription.group
        length = len(subscription.id_bytes)
        members = group.members[length]
        del members[subscription]
        if not members:
            del group.members[length]
        group.size -= 1
        self._metrics.subscriptions -= 1
        return group.is_unused

    def redirect(self, subscription: Subscription, write: Write) -> None:
        """Give a live subscription another write function. Safe while its group is being written to."""
        subscription.group.members[len(subscription.id_bytes)][subscription] = write

    def drop(self, group: Group) -> None:
        """Forget an unused group. The caller releases its buckets."""
        del self._groups[group.key]
        self._indexes[group.field].remove(group)
        self._metrics.groups -= 1

    @property
    def groups(self) -> Collection[Group]:
        """All groups, those included that have no live subscriber yet. Not to be changed while it is walked through."""
        return self._groups.values()

    def replace_projections(self, projections: Mapping[Group, Projection]) -> None:
        """Give groups other projections of the same documents, compiled for a schema that has changed."""
        moved = []
        for group, projection in projections.items():
            group.projection = projection
            if group.key.projection_key != projection.key:
                moved.append(group)
                del self._groups[group.key]
        for group in moved:
            key = group.key._replace(projection_key=group.projection.key)
            # Two selections can have become one; no new subscriber finds the second group, its members stay in it.
            while key in self._groups:
                key = key._replace(projection_key=key.projection_key + " ")
            group.key = key
            self._groups[key] = group

    def match(self, field: str, data: object) -> Sequence[Group]:
        """The groups on a subscription field whose filter the event's data satisfies."""
        index = self._indexes.get(field)
        return index.match(data) if index is not None else ()
