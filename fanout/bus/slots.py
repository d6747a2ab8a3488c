"""Which server of a Redis Cluster a command belongs to. Pure: opens no connection.

Source of the rules: the Redis Cluster specification (hash slots, hash tags), and the commands that this room uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

Argument = str | bytes | int

SLOTS = REDIS_CLUSTER_HASH_SLOTS

_KEYLESS = {"PING", "ECHO", "INFO", "TIME", "CLUSTER", "CLIENT", "COMMAND", "CONFIG", "SCRIPT", "FLUSHALL", "ACL"}
_KEYLESS |= {"MULTI", "EXEC", "PUBLISH", "WAIT"}
_KEY_AFTER_A_SUBCOMMAND = {"XINFO", "XGROUP", "MEMORY", "OBJECT"}
_KEY_AFTER_SCRIPT_AND_COUNT = {"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"}


class Address(NamedTuple):
    """Of a server: host and TCP port."""

    host: str
    port: int


class Server(NamedTuple):
    """A server of the cluster by its address and its id, which it keeps through restarts."""

    address: Address
    id: str


@dataclass(frozen=True, slots=True)
class SlotRange:
    """The slots from `first` to `last`, and who has them."""

    first: int
    last: int
    primary: Server
    replicas: tuple[Server, ...]


def find_slot(command: Sequence[Argument]) -> int | None:
    """The slot of a command's keys, which have to be in one; None for a command without a key."""
    name = str(command[0]).upper()
    if name in _KEYLESS:
        return None
    if name in ("XREAD", "XREADGROUP"):
        place = next(index for index, word in enumerate(command) if word == "STREAMS") + 1
    elif name in _KEY_AFTER_SCRIPT_AND_COUNT:
        place = 3
    elif name in _KEY_AFTER_A_SUBCOMMAND:
        place = 2
    else:
        place = 1
    key = command[place]
    return key_slot(key if isinstance(key, bytes) else str(key).encode())


class SlotMap:
    """Who owns each slot, as one server of the cluster saw it. Immutable.

    Args:
        ranges: as `parse_slot_ranges` reads them.
    """

    def __init__(self, ranges: Sequence[SlotRange]) -> None:
        self.ranges = tuple(ranges)
        self._owners: list[Server | None] = [None] * SLOTS
        replicas: dict[str, set[str]] = {}
        for part in self.ranges:
            self._owners[part.first : part.last + 1] = [part.primary] * (part.last + 1 - part.first)
            replicas.setdefault(part.primary.id, set()).update(replica.id for replica in part.replicas)
        self._replicas = replicas
        self.primaries = tuple(dict.fromkeys(part.primary.address for part in self.ranges))
        """Addresses of the servers that own slots."""
        self.replicas = tuple(dict.fromkeys(replica.address for part in self.ranges for replica in part.replicas))
        """Addresses of the others."""

    def owner(self, slot: int) -> Server | None:
        """Who owns a slot; None: nobody was known to."""
        return self._owners[slot]

    def find_failed_over(self, older: SlotMap) -> frozenset[int]:
        """The slots whose owner was followed by a replica of it since an older map.

        A replica may lack what its primary had acknowledged last. A slot that was moved from one primary to another
        lacks nothing. Where neither is certain (a new owner that nobody knew, an old one that owns nothing any more),
        it counts as followed by a replica.
        """
        changed = set()
        for slot, (now, before) in enumerate(zip(self._owners, older._owners, strict=True)):
            if now is None or before is None or now.id == before.id:
                continue
            was_replica = now.id in older._replicas[before.id]
            is_unknown = now.id not in older._replicas and before.id not in self._replicas
            if was_replica or is_unknown:
                changed.add(slot)
        return frozenset(changed)

    def fill_in(self, older: SlotMap) -> SlotMap:
        """This map, with the owners of the older one for slots that nobody owns here: they come back, or fail over."""
        if None not in self._owners:
            return self
        filled = list(self.ranges)
        for slot, owner in enumerate(self._owners):
            if owner is None and (before := older.owner(slot)) is not None:
                filled.append(SlotRange(slot, slot, before, ()))
        return SlotMap(filled)


def parse_slot_ranges(answer: Sequence[Any], asked_host: str) -> list[SlotRange]:
    """Read the answer of `CLUSTER SLOTS` in RESP2.

    Args:
        answer: ranges, each `[first, last, [host, port, id, ...], ...]` with the primary first.
        asked_host: host of the server that answered; it may not know its own address, or not want to tell.
    """

    def read_server(described: Sequence[Any]) -> Server:
        host = (described[0] or b"").decode()
        return Server(Address(host if host not in ("", "?") else asked_host, described[1]), described[2].decode())

    return [
        SlotRange(first, last, read_server(primary), tuple(map(read_server, replicas)))
        for first, last, primary, *replicas in answer
    ]
