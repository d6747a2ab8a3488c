"""Stored keys are what was added and not removed, on a server and a cluster; what cannot be read opens nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from fanout.bus.client import Link
from fanout.bus.key_store import KEPT_AFTER_EXPIRY_S, KeyStore, format_entry, open_key_store, parse_entry
from fanout.bus.keys import Keys
from fanout.errors import Unavailable
from fanout.model import KeyKind, StoredKey

NAME = Keys("fanout:").stored_keys
INSTANTS = st.integers(0, 253_402_300_799)
DIGEST = bytes(range(32))
GOOD = {"kind": "api", "description": "d", "createdAt": 1, "expiresAt": 2}

stored_keys = st.builds(
    StoredKey, st.binary(min_size=32, max_size=32), st.sampled_from(KeyKind), st.text(), INSTANTS, INSTANTS
).filter(lambda key: not any("\ud800" <= character <= "\udfff" for character in key.description))


@pytest.fixture
async def store(link: Link) -> KeyStore:
    return KeyStore(Keys("fanout:"), link)


@pytest.fixture
async def others(url: str) -> AsyncIterator[list[KeyStore]]:
    """As many as there are people who create keys at the same time."""
    async with asyncio.timeout(20):
        opened = [open_key_store(url, "fanout:") for _ in range(6)]
        yield [(await each.__aenter__())[0] for each in opened]
        for each in opened:
            await each.__aexit__(None, None, None)


def make(number: int, created_at: int = 1000, expires_at: int = 2000, kind: KeyKind = KeyKind.API) -> StoredKey:
    return StoredKey(number.to_bytes(32), kind, f"key {number}", created_at, expires_at)


@given(stored_keys)
def test_an_entry_is_read_as_it_was_written(key: StoredKey) -> None:
    field, value = format_entry(key)
    assert parse_entry(field.encode(), value) == key


@given(
    st.binary() | st.just(DIGEST.hex().encode()),
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text("ab"),
        lambda inner: st.dictionaries(st.sampled_from(list(GOOD)), inner, max_size=5) | st.lists(inner, max_size=3),
    ).map(orjson.dumps),
)
def test_anything_else_is_refused_and_not_shown(field: bytes, value: bytes) -> None:
    problem = ""
    try:
        parsed = parse_entry(field, value)
        assert format_entry(parsed)[0].encode() == field
    except ValueError as error:
        problem = str(error)
    assert problem.isascii()
    assert len(problem) < 100


@pytest.mark.parametrize(
    ("field", "entry", "text"),
    [
        ("da2-a-key-itself", GOOD, "a field is no SHA-256"),
        (DIGEST.hex().upper(), GOOD, "a field is no SHA-256"),
        (DIGEST.hex(), [], "sha256:0001020304050607: no JSON object"),
        (DIGEST.hex(), {**GOOD, "kind": "root"}, "kind is none of api, publisher, admin"),
        (DIGEST.hex(), {**GOOD, "kind": None}, "kind is none of"),
        (DIGEST.hex(), {**GOOD, "description": 5}, "description is no string"),
        (DIGEST.hex(), {**GOOD, "createdAt": "1"}, "createdAt is no whole number"),
        (DIGEST.hex(), {**GOOD, "expiresAt": True}, "expiresAt is no whole number"),
        (DIGEST.hex(), {**GOOD, "expiresAt": 10**12}, "expiresAt is no whole number"),
        (DIGEST.hex(), {**GOOD, "expiresAt": 1.5}, "expiresAt is no whole number"),
    ],
)
async def test_a_corrupt_entry_is_logged_once_and_passed_over(
    store: KeyStore, redis: Redis, caplog: pytest.LogCaptureFixture, field: str, entry: object, text: str
) -> None:
    good = make(1)
    await redis.hset(NAME, field, orjson.dumps(entry).decode())
    assert await store.add(good, 5)
    assert await store.read() == [good]
    assert await store.read() == [good]
    (line,) = caplog.messages
    assert line.startswith("fanout:{keys}: 1 entries cannot be used")
    assert text in line
    assert "da2-" not in line
    await redis.hset(NAME, "not even JSON", "{")
    await store.read()
    assert "2 entries" in caplog.messages[1]


async def test_a_member_that_is_new_is_passed_over(store: KeyStore, redis: Redis) -> None:
    await redis.hset(NAME, DIGEST.hex(), orjson.dumps({**GOOD, "scopes": ["a"]}).decode())
    assert await store.read() == [StoredKey(DIGEST, KeyKind.API, "d", 1, 2)]


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_orders_does_what_a_dictionary_does(store: KeyStore, redis: Redis, seed: int) -> None:
    chance, model, now, limit = random.Random(seed), dict[bytes, StoredKey](), 10_000, 3
    await redis.hset(NAME, "corrupt", "{")
    for number in range(80):
        now += chance.choice((0, 1, 10, 100, KEPT_AFTER_EXPIRY_S // 3))
        if chance.random() < 0.7:
            key = make(number, now, now + chance.choice((1, 10, 100, 1000)), chance.choice(list(KeyKind)))
            model = {digest: old for digest, old in model.items() if old.expires_at > now - KEPT_AFTER_EXPIRY_S}
            is_free = sum(old.kind is key.kind and old.expires_at > now for old in model.values()) < limit
            assert await store.add(key, limit) == is_free
            if is_free:
                model[key.digest] = key
        else:
            digest = chance.choice([*model, make(1000 + number).digest])
            assert await store.remove(digest) == (model.pop(digest, None) is not None)
        assert await store.read() == sorted(model.values(), key=lambda key: (key.created_at, key.digest))


async def test_those_who_create_at_the_same_time_share_the_places_that_are_left(
    store: KeyStore, others: list[KeyStore]
) -> None:
    added = await asyncio.gather(*(other.add(make(number), 4) for number, other in enumerate(others * 3)))
    assert sum(added) == 4
    assert len(await store.read()) == 4
    assert await store.add(replace(make(99), kind=KeyKind.ADMIN), 4)  # of another kind


async def test_another_prefix_has_other_keys(store: KeyStore, link: Link) -> None:
    await store.add(make(1), 5)
    assert await KeyStore(Keys("other:"), link).read() == []


async def test_what_is_no_hash_is_told(store: KeyStore, redis: Redis) -> None:
    await redis.set(NAME, "x")
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        await store.read()
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        await store.add(make(1), 5)


async def test_calls_at_the_same_time_take_turns(store: KeyStore) -> None:
    results = await asyncio.gather(store.add(make(1), 5), store.read(), store.add(make(2), 5), store.read())
    assert [len(result) for result in results if isinstance(result, list)] == [1, 2]
