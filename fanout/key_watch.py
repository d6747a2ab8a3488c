"""The end of keys: what they have opened is ended when they expire or are revoked, within a second. Knows no Redis.

Stored keys are read when one is announced to have changed, and now and then although nobody said so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from fanout.auth import Authorizer
from fanout.engine import Wheel
from fanout.errors import Unavailable
from fanout.gateway import Ended, Oversight
from fanout.key_orders import Keyring
from fanout.model import StoredKey

logger = logging.getLogger("fanout.administration")

_CHECK_MS = 1000
# How often stored keys are read although nobody said that they have changed, and how soon again while that fails.
_LOOK_MS, _LOOK_AGAIN_MS = 30_000, 1000


class KeyWatch:
    """Keeps one gateway's keys what they are everywhere, and ends what was opened by those that are gone.

    Args:
        authorizer: who may come in; told of stored keys.
        oversight: the live connections.
        keyring: the stored keys.
        wheel: its clock wakes it.
        now: seconds since 1970.
    """

    def __init__(
        self,
        authorizer: Authorizer,
        oversight: Oversight,
        keyring: Keyring,
        wheel: Wheel,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authorizer = authorizer
        self._oversight = oversight
        self._keyring = keyring
        self._wheel = wheel
        self._now = now
        self._stored: list[StoredKey] | None = []  # None: a defect came between, and nobody knows
        self._reading = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._are_known = True
        self._look_ms = 0
        self._looked_at = now()
        self._next_expiry = authorizer.next_expiry()
        self.wheel_slot = -1

    def start(self) -> None:
        """Begin to look at the keys' ends of life, and at the stored keys now and then."""
        self._look_ms = self._wheel.now_ms() + _LOOK_MS
        self._wheel.schedule(self, self._wheel.now_ms() + _CHECK_MS)

    async def stop(self) -> None:
        """End what is under way."""
        self._wheel.cancel(self)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def revoke(self) -> Ended:
        """End what was opened by credentials that do not hold any more; to be called when the keys have changed."""
        self._next_expiry = self._authorizer.next_expiry()
        return self._oversight.revoke(self._authorizer.holds)

    async def load(self) -> Ended:
        """Read the stored keys: those that are new are good from now on, and those that are gone end what they opened.

        Raises:
            Unavailable: Redis did not answer; the keys that were read last stay in force.
        """
        async with self._reading:  # one after the other, so that what was read last is what is in force
            stored = await self._keyring.read()
            self._are_known = True
            if stored == self._stored:
                return Ended()
            self._stored = None
            self._authorizer.store(stored)
            ended = self.revoke()
            # Last: what a defect has kept from being ended is ended when they are read again.
            self._stored = stored
        logger.info(
            "stored keys have changed, there are %d; closed %d connections, ended %d subscriptions",
            len(stored),
            ended.connections,
            ended.subscriptions,
        )
        return ended

    def look_soon(self) -> None:
        """Read the stored keys in a task of its own, at the next tick of the clock."""
        self._look_ms = 0

    def note_unread(self, error: Unavailable) -> None:
        """They could not be read: look again soon, and say so once."""
        self._look_ms = self._wheel.now_ms() + _LOOK_AGAIN_MS
        if self._are_known:
            logger.warning("%s; the stored keys stay in force as they were read last", error)
        self._are_known = False

    def on_due(self, now_ms: int) -> int:
        """Called by the wheel: end the connections of keys that have expired, and read the stored keys now and then."""
        try:
            self._end_what_has_expired()
        except Exception:  # our defect with one connection must not let all others live for ever: tried again
            logger.exception("what has expired could not be ended")
        if now_ms >= self._look_ms and (self._looking is None or self._looking.done()):
            self._look_ms = now_ms + _LOOK_MS
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return now_ms + _CHECK_MS

    def _end_what_has_expired(self) -> None:
        now = self._now()
        if now < self._looked_at:  # the clock was set back: what had expired may expire again
            self._next_expiry = self._authorizer.next_expiry()
        self._looked_at = now
        if now >= self._next_expiry:
            next_expiry = self._authorizer.next_expiry()
            ended = self._oversight.revoke(self._authorizer.holds)
            self._next_expiry = next_expiry
            logger.info("a key has expired: %d connections closed", ended.connections)
        if now >= self._oversight.guests_expire_at:
            self._oversight.end_expired_guests(now)

    async def _look(self) -> None:
        try:
            await self.load()
        except Unavailable as error:
            self.note_unread(error)
        except Exception:  # our defect: tried again like everything else here
            logger.exception("the stored keys could not be read, or what they had opened not be ended")
