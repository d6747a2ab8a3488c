"""Who routes a stream: a lease with expiry, and the checkpoint that only its holder can move.

Both are in one hash slot and are touched by scripts, so that a holder that was stopped for a while and goes on as if
nothing had happened cannot move the checkpoint under its successor. Knows nothing of routing.
"""

from __future__ import annotations

import secrets

from fanout.bus.client import Link
from fanout.bus.keys import Keys
from fanout.bus.positions import Position

# A holder that lost its connection finds its own token and goes on at once. A token ends with the lease's duration:
# Redis keeps the moment of expiry, so if its clock was set back, a lease would outlive its holder by as much.
_ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  local left, longest = redis.call('PTTL', KEYS[1]), tonumber(string.match(holder, ':(%d+)$'))
  if longest and left > longest then
    redis.call('PEXPIRE', KEYS[1], longest)
    return longest
  end
  return left
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return -3
"""
_ACQUIRED = -3  # no answer of PTTL

_ADVANCE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if ARGV[3] then
  redis.call('HSET', KEYS[2], 'id', ARGV[3], 'read', ARGV[4], 'server', ARGV[5])
end
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_CREATE_CHECKPOINT = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'read', ARGV[2])
return 1
"""


# The gateway that holds fewest is heard, and can change its mind. The script has one key only: with another that may be
# missing it could not be executed while the slot is moved.
_WISH = """
local held, who = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(.*)$')
if not held or who == ARGV[2] or tonumber(held) >= tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
end
"""


class LeaseLost(Exception):  # not an error: it happens when another gateway took over
    """Another gateway may hold the lease now."""


class Lease:
    """The lease and checkpoint of one stream, as one gateway sees them. Each call is one round trip.

    Args:
        keys: key names.
        stream: the event stream.
        lease_ms: how long the lease lasts without a sign of life of its holder.
    """

    def __init__(self, keys: Keys, stream: str, lease_ms: int) -> None:
        self._lease = keys.lease(stream)
        self._checkpoint = keys.checkpoint(stream)
        self._wish = keys.wish(stream)
        self._lease_ms = lease_ms
        self._token = f"{secrets.token_hex(16)}:{lease_ms}"

    async def acquire(self, link: Link) -> int:
        """Take the lease if it is free or already ours. Returns 0, or in how many ms it can be free."""
        (answer,) = await link.call(("EVAL", _ACQUIRE, 1, self._lease, self._token, self._lease_ms))
        return 0 if answer == _ACQUIRED else max(1, int(answer))

    async def renew(self, link: Link) -> None:
        """Say that the holder lives.

        Raises:
            LeaseLost: it is not ours any more.
        """
        await self._advance(link)

    async def advance(self, link: Link, position: Position, server: str = "") -> None:
        """Move the checkpoint and renew the lease.

        Args:
            link: to ask on.
            position: up to where the stream has been routed.
            server: which server is written to, see `fanout.bus.succession`; empty: unknown.

        Raises:
            LeaseLost: it is not ours any more; the checkpoint was not moved.
        """
        await self._advance(link, str(position.id), position.read, server)

    async def is_free(self, link: Link) -> bool:
        """Whether nobody holds it."""
        (holder,) = await link.call(("GET", self._lease))
        return holder is None

    async def wish(self, link: Link, held: int, lasts_ms: int) -> None:
        """Say that this gateway would route the stream; it holds `held` others. The lowest wish counts."""
        await link.call(("EVAL", _WISH, 1, self._wish, held, self._token, lasts_ms))

    async def read_wish(self, link: Link) -> int | None:
        """How many streams the gateway holds that wishes for this one, if one does."""
        (wish,) = await link.call(("GET", self._wish))
        return None if wish is None else int(wish.partition(b":")[0])

    async def give_up(self, link: Link) -> bool:
        """Give the lease back to whoever wished for it. Returns whether it was ours."""
        await link.call(("DEL", self._wish))
        return await self.release(link)

    async def release(self, link: Link) -> bool:
        """Give the lease back. Returns whether it was ours."""
        (answer,) = await link.call(("EVAL", _RELEASE, 1, self._lease, self._token))
        return bool(answer)

    async def _advance(self, link: Link, *checkpoint: str | int) -> None:
        (answer,) = await link.call(
            ("EVAL", _ADVANCE, 2, self._lease, self._checkpoint, self._token, self._lease_ms, *checkpoint)
        )
        if not answer:
            raise LeaseLost


async def create_checkpoint(link: Link, keys: Keys, stream: str, position: Position) -> None:
    """Write a stream's checkpoint unless there is one.

    Each gateway does this before its first subscriber: then there is always a checkpoint, and it is at or before the
    place where any gateway joined.
    """
    checkpoint = keys.checkpoint(stream)
    await link.call(("EVAL", _CREATE_CHECKPOINT, 1, checkpoint, str(position.id), position.read))
