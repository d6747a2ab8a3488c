"""This gateway as a member: joins, says that it lives, writes its buckets, and joins anew if it was written off.

One task does all of this on one connection, in turn; so registrations, cleaning and joining cannot overtake each
other. Knows nothing of events.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from fanout.bus.client import Backoff, CommandRefused, Link
from fanout.bus.entries import HELLO, Note, note_fields
from fanout.bus.keys import Keys
from fanout.bus.refusals import Refusals
from fanout.bus.registration import InboxGone, Registration
from fanout.bus.sweep import Sweeper, clean
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.settings import Settings

_logger = logging.getLogger(__name__)


class Membership:
    """Keeps one gateway a member, and its registration written.

    Args:
        settings: heartbeat and linger times.
        keys: key names.
        link: connection of its own.
        entered: called with a new gateway id when it is known to Redis and in no bucket yet.
        lost: called with a reason, after `entered`, when the gateway had to join anew: events may have passed it by.
        metrics: passed on to the registration.
        refusals: noted when Redis refuses something.
        look_back: called with every heartbeat, and when Redis is back before anything goes on: to compare what it has
            with what was taken.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        link: Link,
        entered: Callable[[str], Awaitable[None]],
        lost: Callable[[str], None],
        metrics: Metrics,
        refusals: Refusals,
        look_back: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._link = link
        self._entered = entered
        self._lost = lost
        self._refusals = refusals
        self._look_back = look_back
        self._wake = asyncio.Event()
        self._verified = asyncio.Event()
        # Why the gateway has to join anew; empty: it is a member.
        self._lost_by = ""
        self._is_suspected = False
        self._next_beat = 0.0
        self._stale_ids: set[str] = set()
        self._sweeper = Sweeper(keys)
        self.gateway_id = _new_id()
        self.registration = Registration(keys, settings.bucket_linger_ms, self._wake.set, metrics)

    @property
    def is_verified(self) -> bool:
        """Redis answers, and has everything that this gateway wrote."""
        return self._verified.is_set()

    async def wait_verified(self) -> None:
        """Wait until `is_verified`."""
        await self._verified.wait()

    def suspect(self) -> None:
        """A connection broke, so Redis may have lost data: look before anything goes on. Never awaits."""
        self._verified.clear()
        self._is_suspected = True
        self._wake.set()

    def join_anew(self, reason: str) -> None:
        """What was written last may be lost in ways that nothing shows: join anew, and tell why. Never awaits."""
        self._verified.clear()
        self._lost_by = self._lost_by or reason
        self._wake.set()

    async def enter(self) -> None:
        """Join for the first time.

        Raises:
            Unavailable: Redis did not answer.
        """
        await self._enter()
        self._verified.set()

    async def run(self) -> None:
        """Stay a member for ever, through any absence of Redis."""
        backoff = Backoff()
        is_away = False
        while True:
            try:
                await self._step()
            except InboxGone:
                _logger.warning("gateway %s is not known to Redis any more, joining anew", self.gateway_id)
                self.join_anew("membership-lost")
            except CommandRefused as error:
                # The connection is good: what was written before stands, and events go on coming.
                if not self._verified.is_set():
                    self.suspect()
                if self._refusals.note("registration", error):
                    _logger.warning("cannot register this gateway or its buckets: %s", error)
                await backoff.pause()
            except Unavailable as error:
                self.suspect()
                if not is_away:
                    _logger.warning("%s; waiting for it", error)
                is_away = True
                await backoff.pause()
            else:
                if is_away:
                    _logger.warning("Redis is back")
                is_away = False
                backoff.reset()

    async def leave(self) -> None:
        """Remove everything that this gateway wrote.

        Raises:
            Unavailable: Redis did not answer; other gateways will clean up.
        """
        self._verified.clear()
        await clean(self._link, self._keys, self.gateway_id)

    async def _step(self) -> None:
        now = asyncio.get_running_loop().time()
        self._wake.clear()
        write_in = self.registration.next_write_in()
        if self._lost_by:
            await self._enter_anew()
        elif self._is_suspected:
            await self._verify()
        elif now >= self._next_beat:
            await self._beat()
            for gateway_id in await self._sweeper.sweep(self._link):
                _logger.warning("gateway %s was silent for too long, cleaned up after it", gateway_id)
        elif write_in == 0:
            await self.registration.write_round(self._link, self.gateway_id)
            self._refusals.clear("registration")
        else:
            beat_in = self._next_beat - now
            try:
                async with asyncio.timeout(beat_in if write_in is None else min(beat_in, write_in)):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _beat(self) -> None:
        settings, keys, gateway_id = self._settings, self._keys, self.gateway_id
        # Nothing else would notice that a server came back without a bucket of ours that is seldom asked for.
        await self._link.probe()
        _, exists = await self._link.call(
            ("SET", keys.heartbeat(gateway_id), "1", "PX", settings.heartbeat_timeout_ms),
            ("EXISTS", keys.inbox(gateway_id)),
        )
        if not exists:
            raise InboxGone
        if self._look_back is not None:
            await self._look_back()
        self._next_beat = asyncio.get_running_loop().time() + settings.heartbeat_interval_ms / 1000

    async def _verify(self) -> None:
        # Cleared first: a connection that breaks from here on is suspected again.
        self._is_suspected = False
        self._sweeper.forget()
        await self._beat()
        await self.registration.write_all(self._link, self.gateway_id)
        if not (self._is_suspected or self._lost_by):
            self._verified.set()

    async def _enter_anew(self) -> None:
        """Under a new id, since routers and cleaners may still be at work with the old one."""
        # Before anything is awaited: nobody may be told to be registered because of what the old id had written.
        self.registration.forget_written()
        self._is_suspected = False
        reason = self._lost_by
        self._stale_ids.add(self.gateway_id)
        self.gateway_id = _new_id()
        await self._enter()
        self._lost(reason)
        await self.registration.write_round(self._link, self.gateway_id)
        for gateway_id in tuple(self._stale_ids):
            await clean(self._link, self._keys, gateway_id)
            self._stale_ids.discard(gateway_id)
        self._lost_by = ""
        if not self._is_suspected:
            self._verified.set()

    async def _enter(self) -> None:
        keys, gateway_id = self._keys, self.gateway_id
        # The heartbeat is first and the membership last, so that nobody takes it for dead in between.
        await self._link.call(
            ("SET", keys.heartbeat(gateway_id), "1", "PX", self._settings.heartbeat_timeout_ms),
            ("XADD", keys.inbox(gateway_id), "*", *note_fields(Note(HELLO))),
            ("SADD", keys.gateways, gateway_id),
            ("SET", keys.gateways_version, secrets.token_hex(8)),
        )
        self._next_beat = asyncio.get_running_loop().time() + self._settings.heartbeat_interval_ms / 1000
        self._sweeper.forget()
        await self._entered(gateway_id)


def _new_id() -> str:
    return secrets.token_hex(8)
