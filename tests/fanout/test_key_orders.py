"""Keys are made by AppSync's rules, shown once, and revoked by a name that is never the key."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import pytest

from fanout.errors import BadRequest, ClientFault, LimitExceeded, Unavailable
from fanout.key_orders import LONGEST_DESCRIPTION, MOST_KEYS, KeyOrders
from fanout.model import KeyKind, StoredKey
from tests.fanout.test_orders import Announced, Gateways, ended

NOW = 1_700_000_000  # 2023-11-14T22:13:20Z


class Keyring:
    def __init__(self) -> None:
        self.keys: list[StoredKey] = []
        self.is_full = False

    async def read(self) -> list[StoredKey]:
        return self.keys

    async def add(self, key: StoredKey, limit: int) -> bool:
        assert limit == MOST_KEYS == 50
        if not self.is_full:
            self.keys.append(key)
        return not self.is_full

    async def remove(self, digest: bytes) -> bool:
        before, self.keys = self.keys, [key for key in self.keys if key.digest != digest]
        return len(before) > len(self.keys)


@pytest.fixture
def keyring() -> Keyring:
    return Keyring()


@pytest.fixture
def gateways() -> Gateways:
    return Gateways(Announced(2, {"a": ended(1, 2), "b": ended(3, 4)}))


@pytest.fixture
def orders(keyring: Keyring, gateways: Gateways) -> KeyOrders:
    return KeyOrders(keyring, gateways.announce, lambda: NOW + 0.9)


async def test_a_key_is_told_once_and_only_its_digest_is_kept(
    orders: KeyOrders, keyring: Keyring, gateways: Gateways
) -> None:
    made = await orders.create(KeyKind.API, "the web client", 7)
    key = made.pop("key")
    assert re.fullmatch("da2-[a-z0-9]{26}", key)
    digest = sha256(key.encode())
    shown = {
        "id": f"sha256:{digest.hexdigest()[:16]}",
        "kind": "api",
        "description": "the web client",
        "createdAt": "2023-11-14T22:13:20Z",
        "expiresAt": "2023-11-21T22:13:20Z",
        "state": "active",
    }
    assert made == {**shown, "gateways": {"told": 2, "answered": 2}}
    assert keyring.keys == [StoredKey(digest.digest(), KeyKind.API, "the web client", NOW, NOW + 7 * 86_400)]
    assert await orders.list_keys() == [shown]
    assert gateways.told == [({"do": "keys"}, 2.0)]


async def test_a_key_that_has_expired_is_listed_as_such(orders: KeyOrders, keyring: Keyring) -> None:
    for seconds in (0, 1):
        keyring.keys.append(StoredKey(bytes(32), KeyKind.API, "", 0, NOW + seconds))
    assert [key["state"] for key in await orders.list_keys()] == ["expired", "active"]


@pytest.mark.parametrize("days", [1, 365])
async def test_the_shortest_and_the_longest_life(orders: KeyOrders, keyring: Keyring, days: int) -> None:
    await orders.create(KeyKind.PUBLISHER, "x" * LONGEST_DESCRIPTION, days)
    assert keyring.keys[0].expires_at - NOW == days * 86_400


@pytest.mark.parametrize(
    ("description", "days", "text"),
    [
        ("", 0, "from 1 to 365"),
        ("", 366, "from 1 to 365"),
        ("", True, "from 1 to 365"),
        ("", 1.5, "from 1 to 365"),
        ("x" * (LONGEST_DESCRIPTION + 1), 1, "at most 300 visible"),
        ("a\nb", 1, "visible characters"),
        ("\x1b[31m", 1, "visible characters"),
        ("\ud800", 1, "visible characters"),
    ],
)
async def test_mistakes_store_nothing(
    orders: KeyOrders, keyring: Keyring, description: str, days: Any, text: str
) -> None:
    with pytest.raises(BadRequest, match=text):
        await orders.create(KeyKind.API, description, days)
    assert keyring.keys == []


async def test_the_quota_is_told_and_nobody_else_is(orders: KeyOrders, keyring: Keyring, gateways: Gateways) -> None:
    keyring.is_full = True
    with pytest.raises(LimitExceeded, match="50 stored keys of the kind 'api' that have not expired"):
        await orders.create(KeyKind.API, "", 7)
    assert gateways.told == []


async def test_a_key_is_revoked_by_its_id_or_its_first_digits(
    orders: KeyOrders, keyring: Keyring, gateways: Gateways
) -> None:
    for name in (lambda d: f"sha256:{d[:16]}", lambda d: d, lambda d: f"sha256:{d.upper()}", lambda d: d[:8]):
        made = await orders.create(KeyKind.API, "", 7)
        gateways.told.clear()
        revoked = await orders.revoke(name(keyring.keys[0].digest.hex()))
        assert (revoked["id"], revoked["state"]) == (made["id"], "revoked")
        assert revoked["ended"] == {"connections": 4, "subscriptions": 6}
        assert keyring.keys == []
        assert gateways.told == [({"do": "keys"}, 2.0)]


async def test_who_is_meant_has_to_be_clear(orders: KeyOrders, keyring: Keyring) -> None:
    for end in (b"\0", b"\1"):
        keyring.keys.append(StoredKey(b"\xab" * 31 + end, KeyKind.API, "", 0, NOW + 1))
    with pytest.raises(BadRequest, match=r"several stored keys.*sha256:abababababababab"):
        await orders.revoke("abab")
    with pytest.raises(ClientFault, match="no key is stored") as caught:
        await orders.revoke("abcd")
    assert caught.value.error_code == 404
    assert len(keyring.keys) == 2


@pytest.mark.parametrize("id", ["", "abc", "da2-abcdefghijklmnop", "sha256:", "sha256:xyz0", "a" * 65, "\u0661" * 8])
async def test_a_text_that_is_no_id_is_not_repeated(orders: KeyOrders, id: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await orders.revoke(id)
    # The same for all.
    assert str(caught.value) == (
        "an id is written as the list shows it, like sha256:0123456789abcdef, or as its first digits (4 or more); "
        "never as the key itself"
    )


async def test_one_who_revokes_at_the_same_time_was_first(
    orders: KeyOrders, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def remove(digest: bytes) -> bool:
        return False

    keyring.keys.append(StoredKey(bytes(32), KeyKind.API, "", 0, NOW + 1))
    monkeypatch.setattr(keyring, "remove", remove)
    with pytest.raises(ClientFault, match="no key is stored"):
        await orders.revoke("0000")


async def test_what_is_done_is_told_although_the_gateways_are_not(keyring: Keyring) -> None:
    async def announce(body: bytes, wait_s: float) -> Any:
        raise Unavailable("away")

    orders = KeyOrders(keyring, announce, lambda: NOW)
    made = await orders.create(KeyKind.API, "", 1)
    assert made["gateways"] is None
    assert made["key"].startswith("da2-")
    revoked = await orders.revoke(made["id"])
    assert (revoked["gateways"], revoked["ended"]) == (None, None)
    assert keyring.keys == []
