"""Cleaning up after gateways that died. Any gateway does it; all may do it at once.

Knows what a gateway writes to Redis, not how it lives. Whoever is cleaned although it lives finds its inbox gone and
joins anew under another id.
"""

from __future__ import annotations

import secrets

from fanout.bus.client import Link
from fanout.bus.keys import Keys, split_path_member

_MEMBERS_PER_TRIP = 1000

# Heartbeat and inbox are in one slot. A gateway that has come back since the last look is left alone.
_FENCE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[2])
return 1
"""


class Sweeper:
    """Finds gateways whose heartbeat is missing in two looks that follow each other.

    One look is not enough: after a restart of Redis all heartbeats may have expired, and each gateway needs its time
    to come back.

    Args:
        keys: key names.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._silent: set[str] = set()

    def forget(self) -> None:
        """The connection was lost: what was seen before counts no more."""
        self._silent.clear()

    async def sweep(self, link: Link) -> list[str]:
        """Look at all gateways and clean up after those that were silent in the last look too. Returns their ids."""
        (members,) = await link.call(("SMEMBERS", self._keys.gateways))
        ids = [member.decode() for member in members]
        alive = await link.call(*(("EXISTS", self._keys.heartbeat(gateway_id)) for gateway_id in ids))
        silent = {gateway_id for gateway_id, is_alive in zip(ids, alive, strict=True) if not is_alive}
        dead = sorted(silent & self._silent)
        self._silent = silent
        return [gateway_id for gateway_id in dead if await self._fence(link, gateway_id)]

    async def _fence(self, link: Link, gateway_id: str) -> bool:
        heartbeat, inbox = self._keys.heartbeat(gateway_id), self._keys.inbox(gateway_id)
        (fenced,) = await link.call(("EVAL", _FENCE, 2, heartbeat, inbox))
        if fenced:
            await clean(link, self._keys, gateway_id)
        return bool(fenced)


async def clean(link: Link, keys: Keys, gateway_id: str) -> None:
    """Remove everything a gateway wrote. Can be repeated, and be done by several at once.

    The inbox goes first: from then on nothing is routed to it, and the gateway cannot believe that it is a member.
    The membership goes last, so that whoever comes next finishes what is interrupted here.
    """
    await link.call(("DEL", keys.inbox(gateway_id)))
    reverse = keys.buckets(gateway_id)
    while True:
        (buckets,) = await link.call(("SRANDMEMBER", reverse, _MEMBERS_PER_TRIP))
        if not buckets:
            break
        await link.call(*(("SREM", bucket, gateway_id) for bucket in buckets), ("SREM", reverse, *buckets))
    (members,) = await link.call(("SMEMBERS", keys.paths))
    own = [member for member in members if split_path_member(member.decode())[0] == gateway_id]
    if own:
        await link.call(("SREM", keys.paths, *own), ("SET", keys.paths_version, secrets.token_hex(8)))
    await link.call(("DEL", reverse), ("DEL", keys.heartbeat(gateway_id)))
    await link.call(("SREM", keys.gateways, gateway_id), ("SET", keys.gateways_version, secrets.token_hex(8)))
