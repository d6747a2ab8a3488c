"""Operators' orders about stored keys: create, list, revoke; by command and by `/admin`, which is the same thing here.

Knows the rules (AppSync's: a life of 1 to 365 days, 7 unless asked, and 50 keys that are good at a time), and that all
gateways have to be told; not where keys are stored or how anybody is told.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from fanout.auth import digest_key, generate_key, name_digest
from fanout.auth.api_keys import DIGEST_PREFIX
from fanout.errors import BadRequest, ClientFault, LimitExceeded, Unavailable
from fanout.model import KeyKind, StoredKey
from fanout.orders import Announce, give_order

LOOK_AGAIN: dict[str, str] = {"do": "keys"}
"""The order to all gateways: read the stored keys again."""
DEFAULT_DAYS, MOST_DAYS = 7, 365
MOST_KEYS = 50
"""Of each kind, expired ones not counted."""
LONGEST_DESCRIPTION = 300
_DAY_S = 86_400
_FEWEST_DIGITS = 4
_ID = re.compile(rf"(?:{DIGEST_PREFIX})?([0-9a-fA-F]{{{_FEWEST_DIGITS},64}})")


class Keyring(Protocol):
    """Where keys are stored; see `fanout.bus.key_store.KeyStore`. All raise Unavailable."""

    async def read(self) -> list[StoredKey]: ...

    async def add(self, key: StoredKey, limit: int) -> bool: ...

    async def remove(self, digest: bytes) -> bool: ...


class KeyOrders:
    """Creates, lists and revokes keys.

    Args:
        keyring: where they are stored.
        announce: tells all gateways.
        now: seconds since 1970.
    """

    def __init__(self, keyring: Keyring, announce: Announce, now: Callable[[], float] = time.time) -> None:
        self._keyring = keyring
        self._announce = announce
        self._now = now

    async def create(self, kind: KeyKind, description: str, days: int) -> dict[str, Any]:
        """Make a key that is good on all gateways when this returns; it can be had from the answer and never again.

        Args:
            kind: what it is to open.
            description: for whoever lists it.
            days: how long it is good, from now on to the second.

        Returns:
            What `list_keys` shows of it, `key`, and `gateways`: how many were told of it and accept it. `gateways` is
            None if Redis went away after it was stored: then gateways find it by themselves.

        Raises:
            BadRequest: a bad number of days, or a bad description.
            LimitExceeded: there are `MOST_KEYS` of this kind.
            Unavailable: Redis did not answer.
        """
        if type(days) is not int or not 1 <= days <= MOST_DAYS:
            raise BadRequest(f"days: give a whole number from 1 to {MOST_DAYS}")
        if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
            raise BadRequest(f"description: give at most {LONGEST_DESCRIPTION} visible characters in one line")
        key, now = generate_key(), int(self._now())
        stored = StoredKey(digest_key(key), kind, description, now, now + days * _DAY_S)
        if not await self._keyring.add(stored, MOST_KEYS):
            raise LimitExceeded(
                f"there are {MOST_KEYS} stored keys of the kind {kind.value!r} that have not expired, and that is the "
                "most: revoke one that is not needed",
                error_code=400,
            )
        return {**self._describe(stored), "key": key, "gateways": (await self._tell())["gateways"]}

    async def list_keys(self) -> list[dict[str, Any]]:
        """All stored keys, the oldest first: `id`, `kind`, `description`, `createdAt`, `expiresAt`, `state`.

        Raises:
            Unavailable: Redis did not answer.
        """
        return [self._describe(key) for key in await self._keyring.read()]

    async def revoke(self, id: str) -> dict[str, Any]:
        """Make a key good for nothing on all gateways, and end the connections and subscriptions that it opened.

        Args:
            id: as the list shows it, or the first digits of the key's SHA-256.

        Returns:
            What the list showed of it, with `gateways` (as for `create`) and `ended`.

        Raises:
            BadRequest: no id, or one of several keys; its text does not repeat it, since it may be a key itself.
            ClientFault: no key is stored by this id (404).
            Unavailable: Redis did not answer.
        """
        matched = _ID.fullmatch(id)
        if matched is None:
            raise BadRequest(
                "an id is written as the list shows it, like sha256:0123456789abcdef, or as its first digits "
                f"({_FEWEST_DIGITS} or more); never as the key itself"
            )
        digits = matched[1].lower()
        found = [key for key in await self._keyring.read() if key.digest.hex().startswith(digits)]
        if len(found) > 1:
            names = ", ".join(name_digest(key.digest) for key in found)
            raise BadRequest(f"several stored keys begin with these digits, give more of them: {names}")
        if not found or not await self._keyring.remove(found[0].digest):
            raise ClientFault("no key is stored by this id", error_type="NotFoundException", error_code=404)
        return {**self._describe(found[0]), "state": "revoked", **await self._tell()}

    async def _tell(self) -> dict[str, Any]:
        try:
            return await give_order(self._announce, LOOK_AGAIN)
        except Unavailable:  # told by None: it is done, and gateways look by themselves when Redis is back
            return {"gateways": None, "ended": None}

    def _describe(self, key: StoredKey) -> dict[str, Any]:
        return {
            "id": name_digest(key.digest),
            "kind": key.kind.value,
            "description": key.description,
            "createdAt": _write_instant(key.created_at),
            "expiresAt": _write_instant(key.expires_at),
            "state": "active" if self._now() < key.expires_at else "expired",
        }


def _write_instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
