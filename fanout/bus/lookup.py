"""Which other gateways want an event: the bucket index as a router reads it. Hot module.

For a batch of events all buckets are read in one trip, together with the versions of what is remembered between
batches: the set of gateways and the paths in use. If a version is not the remembered one, what is remembered is read
again and the lookup repeated; so a registration that was finished before a lookup began is seen by it.
Knows nothing of inboxes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from typing import Any

from fanout.bus.client import Command, Link
from fanout.bus.keys import CATCH_ALL_PATH, Keys, split_path_member
from fanout.model import Event
from filters import event_bucket_keys

_NO_ONE: frozenset[str] = frozenset()


class Lookup:
    """What one router knows of the other gateways.

    Args:
        keys: key names.
        own_id: the id of this gateway at the moment; its own buckets are not looked up, it gets all events anyway.
    """

    def __init__(self, keys: Keys, own_id: Callable[[], str]) -> None:
        self._keys = keys
        self._own_id = own_id
        self._is_known = False
        self._gateways_version: bytes | None = None
        self._paths_version: bytes | None = None
        self._others = _NO_ONE
        # By subscription field, as far as others use them: the catch-all bucket's key, and for each path what the
        # keys of its buckets begin with.
        self._catch_all: dict[str, str] = {}
        self._stems: dict[str, dict[str, str]] = {}
        self._members: dict[str, frozenset[str]] = {}

    @property
    def others(self) -> frozenset[str]:
        """Ids of the other gateways, as of the last `refresh` or `find`."""
        return self._others

    def forget(self) -> None:
        """What was read may be outdated in ways that versions do not show, for example after a lost connection."""
        self._is_known = False

    async def refresh(self, link: Link) -> None:
        """Read the gateways and the paths in use."""
        keys = self._keys
        # Versions before sets: a change in between is seen by the next comparison.
        self._gateways_version, gateways, self._paths_version, members = await link.call(
            ("GET", keys.gateways_version),
            ("SMEMBERS", keys.gateways),
            ("GET", keys.paths_version),
            ("SMEMBERS", keys.paths),
        )
        own_id = self._own_id()
        self._others = frozenset(gateway.decode() for gateway in gateways) - {own_id}
        self._catch_all, self._stems = {}, {}
        for member in members:
            gateway_id, field, path = split_path_member(member.decode())
            if gateway_id == own_id:
                continue
            stem = keys.bucket_stem(field, path)
            if path == CATCH_ALL_PATH:
                self._catch_all[field] = stem
            else:
                self._stems.setdefault(field, {})[path] = stem
        self._is_known = True

    async def find(
        self,
        link: Link,
        events: Sequence[tuple[Event, Sequence[str]]],
        beside: Sequence[Command] = (),
        refusable: int = 0,
    ) -> tuple[list[frozenset[str]], list[Any]]:
        """Look up a batch.

        Args:
            link: connection to ask on.
            events: each with the subscription fields that its mutation is linked to.
            beside: commands to send in the same trip, before the lookup; they are repeated if that is.
            refusable: how many of the first of these may be answered with an error, see `Link.call`.

        Returns:
            For each event the ids of the other gateways that want it; and the answers to `beside`. One trip, and two
            more, once, when a version has changed.
        """
        is_fresh = False
        while True:
            if not self._is_known:
                await self.refresh(link)
                is_fresh = True
            # Alone, nobody else can be in a bucket, and the version tells if that has changed.
            wanted = [self._bucket_keys(event, fields) for event, fields in events] if self._others else []
            distinct = list(dict.fromkeys(chain.from_iterable(wanted)))
            answers = await link.call(
                *beside,
                ("GET", self._keys.gateways_version),
                ("GET", self._keys.paths_version),
                *(("SMEMBERS", key) for key in distinct),
                refusable=refusable,
            )
            count = len(beside)
            if answers[count] != self._gateways_version or answers[count + 1] != self._paths_version:
                self._is_known = False
                # A refresh made here began after the events were read, so it holds whoever was acknowledged before
                # they were published; later changes matter to later events. Else a client could hold up the stream.
                if not is_fresh:
                    continue
            members = {
                key: frozenset(gateway.decode() for gateway in gateways) - {self._own_id()}
                for key, gateways in zip(distinct, answers[count + 2 :], strict=True)
                if gateways
            }
            self._members = members
            if not members:
                return [_NO_ONE] * len(events), answers[:count]
            return [_NO_ONE.union(*(members.get(key, _NO_ONE) for key in keys)) for keys in wanted], answers[:count]

    async def remove(self, link: Link, gateway_ids: Collection[str]) -> None:
        """Take gateways that have no inbox any more out of the buckets of the last `find`.

        Such entries are left when a gateway was cleaned up after while it was writing. Ids are never used again.
        """
        commands = [
            ("SREM", key, *sorted(members.intersection(gateway_ids)))
            for key, members in self._members.items()
            if not members.isdisjoint(gateway_ids)
        ]
        await link.call(*commands)

    def _bucket_keys(self, event: Event, fields: Sequence[str]) -> list[str]:
        keys = [self._catch_all[field] for field in fields if field in self._catch_all]
        for field in fields:
            if stems := self._stems.get(field):
                keys += [stems[path] + token for path, token in event_bucket_keys(event.data, stems)]
        return keys
