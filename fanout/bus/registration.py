"""Writes the bucket index: which buckets this gateway is in. Knows nothing of filters or subscribers.

Buckets are counted per registration. The first of a bucket makes the gateway join it; after the last it stays for
`bucket_linger_ms`, so that reconnecting clients cost no write, and leaves then. All writing happens in rounds, each
one pipeline, by the one task that calls `write_round`: so a leave and a new join of a bucket cannot cross, and calls
that come together share a round trip.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from fanout.bus.client import Command, Link
from fanout.bus.keys import Keys, path_member
from fanout.metrics import Metrics
from fanout.model import Bucket

_MOST_COMMANDS_PER_TRIP = 2000

_Path = tuple[str, str]


class InboxGone(Exception):  # a finding: another gateway cleaned up after this one, or Redis lost data
    """What this gateway wrote to Redis is not there any more, so events may have passed it by."""


class Registration:
    """The buckets of one gateway: wanted, and written.

    Args:
        keys: key names.
        linger_ms: how long a bucket is kept after its last release.
        wake: called when there is something to write now or later than was known.
        metrics: `buckets` is set.
        now: seconds on a steady clock.
    """

    def __init__(
        self,
        keys: Keys,
        linger_ms: int,
        wake: Callable[[], None],
        metrics: Metrics,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._linger_s = linger_ms / 1000
        self._wake = wake
        self._metrics = metrics
        self._now = now
        self._wanted: Counter[Bucket] = Counter()
        # In Redis for certain; and where that is open, during a round and after a failed one. Disjoint.
        self._written: set[Bucket] = set()
        self._unsure: set[Bucket] = set()
        # Without a registration, and when to leave, the earliest first.
        self._lingering: dict[Bucket, float] = {}
        self._joining: dict[Bucket, None] = {}
        self._waiters: list[asyncio.Future[None]] = []
        # Counts the buckets that are written or unsure.
        self._buckets_by_path: Counter[_Path] = Counter()
        self._written_paths: set[_Path] = set()

    async def register(self, buckets: Iterable[Bucket]) -> None:
        """Count one more registration of each bucket; return when all of them are in Redis.

        Every lookup that begins afterwards finds this gateway. Does not wait if it is in all of them already.
        A cancelled call leaves nothing behind.
        """
        buckets = tuple(buckets)
        missing = False
        for bucket in buckets:
            self._wanted[bucket] += 1
            self._lingering.pop(bucket, None)
            if bucket not in self._written:
                self._joining[bucket] = None
                missing = True
        if not missing:
            return
        written = asyncio.get_running_loop().create_future()
        self._waiters.append(written)
        self._wake()
        try:
            await written
        except asyncio.CancelledError:
            self.release(buckets)
            raise

    def release(self, buckets: Iterable[Bucket]) -> None:
        """Count one registration of each bucket less. Never awaits; a bucket without any is left after a while."""
        due = self._now() + self._linger_s
        for bucket in buckets:
            if self._wanted[bucket] > 1:
                self._wanted[bucket] -= 1
                continue
            del self._wanted[bucket]
            self._joining.pop(bucket, None)
            self._lingering[bucket] = due
        self._wake()

    def next_write_in(self) -> float | None:
        """Seconds until `write_round` has something to do; None: nothing in sight."""
        if self._joining or self._waiters:
            return 0.0
        if not self._lingering:
            return None
        return max(0.0, next(iter(self._lingering.values())) - self._now())

    async def write_round(self, link: Link, gateway_id: str) -> None:
        """Write what is due: joins at once, leaves when they have lingered.

        Raises:
            InboxGone: this gateway is not a member any more; nothing was promised to anybody.
            Unavailable: Redis did not answer; the next round does the same again.
        """
        waiters, self._waiters = self._waiters, []
        joins = [bucket for bucket in self._joining if bucket not in self._written]
        self._joining.clear()
        leaves = self._take_due()
        try:
            if joins or leaves:
                await self._write(link, gateway_id, joins, leaves)
        except BaseException:
            # What came in while the round was under way is kept: it knows better what is wanted now.
            self._joining.update(dict.fromkeys(bucket for bucket in joins if bucket in self._wanted))
            again = [bucket for bucket in leaves if bucket not in self._wanted and bucket not in self._lingering]
            self._lingering = {**dict.fromkeys(again, 0.0), **self._lingering}
            self._waiters = waiters + self._waiters
            raise
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def write_all(self, link: Link, gateway_id: str) -> None:
        """Write everything again after a lost connection, in case that Redis lost a part of it.

        Raises:
            InboxGone: something was missing.
            Unavailable: Redis did not answer.
        """
        paths = list(self._written_paths)
        commands = self._join_commands(gateway_id, list(self._written), paths)
        answers = await self._send(link, gateway_id, [*commands, ("SADD", self._keys.gateways, gateway_id)])
        # SADD answers how many members were not there yet.
        if any(answer for answer in answers if isinstance(answer, int)):
            raise InboxGone

    def forget_written(self) -> None:
        """The gateway has a new id, which is in no bucket yet: the next round joins everything that is wanted."""
        self._written.clear()
        self._unsure.clear()
        self._lingering.clear()
        self._buckets_by_path.clear()
        self._written_paths.clear()
        self._joining.update(dict.fromkeys(self._wanted))
        self._metrics.buckets = 0

    def _take_due(self) -> list[Bucket]:
        now = self._now()
        due = []
        for bucket, at in self._lingering.items():
            if at > now:
                break
            due.append(bucket)
        for bucket in due:
            del self._lingering[bucket]
        return [bucket for bucket in due if bucket in self._written or bucket in self._unsure]

    async def _write(self, link: Link, gateway_id: str, joins: list[Bucket], leaves: list[Bucket]) -> None:
        for bucket in joins:
            if bucket not in self._unsure:
                self._unsure.add(bucket)
                self._buckets_by_path[_path(bucket)] += 1
        for bucket in leaves:
            # From here on a registration of it has to wait for a round that comes after this one.
            self._written.discard(bucket)
            self._unsure.add(bucket)
        left = Counter(map(_path, leaves))
        left_paths = [path for path, count in left.items() if count == self._buckets_by_path[path]]
        self._written_paths.difference_update(left_paths)
        new_paths = list({_path(bucket) for bucket in joins} - self._written_paths)

        commands = [
            *self._leave_commands(gateway_id, leaves, left_paths),
            *self._join_commands(gateway_id, joins, new_paths),
        ]
        await self._send(link, gateway_id, commands)

        self._unsure.difference_update(joins)
        self._unsure.difference_update(leaves)
        self._written.update(joins)
        self._buckets_by_path.subtract(left)
        self._buckets_by_path += Counter()  # drops the zeros
        self._written_paths.update(new_paths)
        self._metrics.buckets = len(self._written)

    def _join_commands(self, gateway_id: str, buckets: Sequence[Bucket], paths: Sequence[_Path]) -> Iterator[Command]:
        keys = self._keys
        # First of all the reverse list: whatever is interrupted then can be cleaned up by another gateway.
        for start in range(0, len(buckets), _MOST_COMMANDS_PER_TRIP):
            part = buckets[start : start + _MOST_COMMANDS_PER_TRIP]
            yield ("SADD", keys.buckets(gateway_id), *map(keys.bucket, part))
        if paths:
            yield ("SADD", keys.paths, *(path_member(gateway_id, *path) for path in paths))
            # After the set, and never a value that was there before: a reader with the old value reads again.
            yield ("SET", keys.paths_version, secrets.token_hex(8))
        for bucket in buckets:
            yield ("SADD", keys.bucket(bucket), gateway_id)

    def _leave_commands(self, gateway_id: str, buckets: Sequence[Bucket], paths: Sequence[_Path]) -> Iterator[Command]:
        keys = self._keys
        for bucket in buckets:
            yield ("SREM", keys.bucket(bucket), gateway_id)
        if buckets:
            yield ("SREM", keys.buckets(gateway_id), *map(keys.bucket, buckets))
        if paths:
            yield ("SREM", keys.paths, *(path_member(gateway_id, *path) for path in paths))
            yield ("SET", keys.paths_version, secrets.token_hex(8))

    async def _send(self, link: Link, gateway_id: str, commands: Iterable[Command]) -> list[object]:
        """Send in pieces, since a gateway may have 100,000 buckets, each followed by a look whether we are a member."""
        answers: list[object] = []
        commands = iter(commands)
        while part := list(islice(commands, _MOST_COMMANDS_PER_TRIP)):
            *part_answers, exists = await link.call(*part, ("EXISTS", self._keys.inbox(gateway_id)))
            if not exists:
                raise InboxGone
            answers += part_answers
        return answers


def _path(bucket: Bucket) -> _Path:
    return bucket.field, bucket.path
