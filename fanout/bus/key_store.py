"""The keys that operators have made (`fanout keys create`), as Redis keeps them: digests and what is known of each.

One hash, from the SHA-256 of a key in hexadecimal digits to a JSON object. Knows no key itself, and not who may use
one. An entry that cannot be read opens nothing: it is logged, named by the digest at most, and passed over.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from fanout.bus.announcements import Teller
from fanout.bus.client import Endpoint, Link
from fanout.bus.keys import Keys
from fanout.model import KeyKind, StoredKey

_logger = logging.getLogger(__name__)

KEPT_AFTER_EXPIRY_S = 60 * 86_400
"""How long an expired key is still shown; AppSync's time until it deletes one."""
_LATEST_S = 253_402_300_799  # the end of the year 9999, the last that a date can be written of
_DIGEST = re.compile(rb"[0-9a-f]{64}")

# One script, so that two who create a key at the same time cannot both have the last place.
_ADD = """
local kind, now, limit, forget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local entries, live = redis.call('HGETALL', KEYS[1]), 0
for place = 1, #entries, 2 do
  local is_json, entry = pcall(cjson.decode, entries[place + 1])
  if is_json and type(entry) == 'table' and type(entry.expiresAt) == 'number' then
    if entry.expiresAt <= forget then
      redis.call('HDEL', KEYS[1], entries[place])
    elseif entry.kind == kind and entry.expiresAt > now then
      live = live + 1
    end
  end
end
if live >= limit then return 0 end
redis.call('HSET', KEYS[1], ARGV[5], ARGV[6])
return 1
"""


class KeyStore:
    """The stored keys of one deployment. Calls that come while one is under way wait for it.

    Args:
        keys: key names.
        link: connection of its own.
    """

    def __init__(self, keys: Keys, link: Link) -> None:
        self._name = keys.stored_keys
        self._link = link
        self._lock = asyncio.Lock()
        self._complaints: list[str] = []

    async def read(self) -> list[StoredKey]:
        """All stored keys, expired ones too, the oldest first.

        Raises:
            Unavailable: Redis did not answer, or refused.
        """
        async with self._lock:
            (listed,) = await self._link.call(("HGETALL", self._name))
        found, complaints = [], []
        for field, value in zip(listed[::2], listed[1::2], strict=True):
            try:
                found.append(parse_entry(field, value))
            except ValueError as error:
                complaints.append(str(error))
        self._complain(sorted(complaints))
        return sorted(found, key=lambda key: (key.created_at, key.digest))

    async def add(self, key: StoredKey, limit: int) -> bool:
        """Store a key, unless there are as many of its kind that have not expired when it is created; at once for all.

        Keys that expired `KEPT_AFTER_EXPIRY_S` ago are forgotten in the same step.

        Returns:
            Whether it is stored.

        Raises:
            Unavailable: Redis did not answer (then it may be stored nevertheless), or refused.
        """
        forget = key.created_at - KEPT_AFTER_EXPIRY_S
        async with self._lock:
            (added,) = await self._link.call(
                ("EVAL", _ADD, 1, self._name, key.kind.value, key.created_at, limit, forget, *format_entry(key))
            )
        return bool(added)

    async def remove(self, digest: bytes) -> bool:
        """Forget a key; returns whether it was there.

        Raises:
            Unavailable: Redis did not answer (then it may be gone nevertheless), or refused.
        """
        async with self._lock:
            (removed,) = await self._link.call(("HDEL", self._name, digest.hex()))
        return bool(removed)

    def _complain(self, complaints: list[str]) -> None:
        """Log what cannot be read when that changes: the store is read again and again."""
        if complaints and complaints != self._complaints:
            _logger.error(
                "%s: %d entries cannot be used and open nothing; the first: %s",
                self._name,
                len(complaints),
                complaints[0],
            )
        self._complaints = complaints


@asynccontextmanager
async def open_key_store(redis_url: str, key_prefix: str) -> AsyncIterator[tuple[KeyStore, Teller]]:
    """The stored keys, and a way to tell all gateways of a change, for somebody who is no gateway.

    Raises:
        ConfigurationError: a URL that cannot be used.
    """
    endpoint, keys = Endpoint(redis_url), Keys(key_prefix)
    links = [Link(endpoint, "fanout-keys") for _ in range(2)]
    try:
        yield KeyStore(keys, links[0]), Teller(keys, links[1])
    finally:
        for link in links:
            await link.close()


def format_entry(key: StoredKey) -> tuple[str, bytes]:
    """Field and value of a key in the hash."""
    value = {
        "kind": key.kind.value,
        "description": key.description,
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
    }
    return key.digest.hex(), orjson.dumps(value)


def parse_entry(field: bytes, value: bytes) -> StoredKey:
    """The key of a field and value; members that a newer version may add are passed over.

    Raises:
        ValueError: it cannot be used. The text holds nothing of an entry but the first digits of a digest.
    """
    if not _DIGEST.fullmatch(field):
        raise ValueError("a field is no SHA-256 in lower-case hexadecimal digits")
    name = f"sha256:{field[:16].decode()}"
    try:
        entry = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ValueError(f"{name}: not valid JSON") from None
    if not isinstance(entry, dict):
        raise ValueError(f"{name}: no JSON object")
    kinds = {kind.value: kind for kind in KeyKind}
    kind, description = entry.get("kind"), entry.get("description", "")
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{name}: kind is none of {', '.join(kinds)}")
    if not isinstance(description, str):
        raise ValueError(f"{name}: description is no string")
    created_at, expires_at = (_read_instant(entry, member, name) for member in ("createdAt", "expiresAt"))
    return StoredKey(bytes.fromhex(field.decode()), kinds[kind], description, created_at, expires_at)


def _read_instant(entry: dict[str, Any], member: str, name: str) -> int:
    value = entry.get(member)
    if type(value) is not int or not 0 <= value <= _LATEST_S:
        raise ValueError(f"{name}: {member} is no whole number of seconds since 1970")
    return value
