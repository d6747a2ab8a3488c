"""Key sets of a real issuer over HTTP: found, turned, and kept while the issuer is down, slow, wrong or huge."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import logging
from collections.abc import Awaitable
from typing import Any

import httpx
import pytest

from fanout.auth import PublicKey
from fanout.errors import ConfigurationError, Unavailable
from fanout.trust import KeySets
from fanout.trust.key_sets import FAILURE_PAUSE_S, LIFESPAN_S, UNKNOWN_KEY_PAUSE_S, Found, KeySet, is_trustworthy
from tests.fanout.trust.conftest import Clock
from tests.issuer import Issuer, make_key, show_key
from tests.served import wait_until_async

DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/.well-known/jwks.json"


def at_once(found: Found) -> PublicKey | None:
    assert not inspect.isawaitable(found)
    return found  # type: ignore[return-value]


async def later(found: Found) -> PublicKey | None:
    assert inspect.isawaitable(found)
    return await asyncio.wait_for(asyncio.ensure_future(found), 20)


@pytest.fixture
def key_set(key_sets: KeySets, issuer: Issuer) -> KeySet:
    return key_sets.open(issuer.url, None)


async def test_keys_are_found_by_discovery_and_then_at_once(key_set: KeySet, issuer: Issuer) -> None:
    key = await later(key_set.find("k1"))
    assert key is not None
    assert issuer.requests == [DISCOVERY, JWKS]
    assert at_once(key_set.find("k1")) is key
    assert issuer.requests == [DISCOVERY, JWKS]


async def test_a_known_place_is_asked_without_discovery(key_sets: KeySets, issuer: Issuer) -> None:
    key_set = key_sets.open("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A", issuer.url + JWKS)
    assert await later(key_set.find("k1"))
    assert issuer.requests == [JWKS]


async def test_many_wait_for_one_fetch(key_set: KeySet, issuer: Issuer) -> None:
    issuer.may_answer.clear()
    waiting = [asyncio.ensure_future(_awaitable(key_set.find(f"k{number % 2}"))) for number in range(20)]
    await wait_until_async(lambda: issuer.requests)
    waiting[0].cancel()  # one that goes away is not missed
    issuer.may_answer.set()
    found = await asyncio.wait_for(asyncio.gather(*waiting[1:]), 20)
    assert [key is not None for key in found] == [number % 2 == 1 for number in range(1, 20)]
    assert issuer.requests == [DISCOVERY, JWKS]


def _awaitable(found: Found) -> Awaitable[PublicKey | None]:
    assert inspect.isawaitable(found)
    return found


async def test_a_turned_key_is_found(key_set: KeySet, issuer: Issuer) -> None:
    former = await later(key_set.find("k1"))
    issuer.keys = {"k1": make_key("k1"), "k2": make_key("k2")}
    assert await later(key_set.find("k2"))
    assert at_once(key_set.find("k1")) == former
    assert len(issuer.requests) == 4


async def test_unknown_keys_do_not_make_us_ask_all_the_time(key_set: KeySet, issuer: Issuer, clock: Clock) -> None:
    assert await later(key_set.find("k1"))
    assert await later(key_set.find("random 1")) is None
    asked = len(issuer.requests)
    issuer.keys["k2"] = make_key("k2")
    for number in range(100):
        clock.now += UNKNOWN_KEY_PAUSE_S / 101
        assert at_once(key_set.find(f"random {number}")) is None
        assert at_once(key_set.find("k1"))  # and nobody else waits for it
    assert len(issuer.requests) == asked
    clock.now += UNKNOWN_KEY_PAUSE_S / 50
    assert await later(key_set.find("k2"))
    assert len(issuer.requests) == asked + 2


async def test_others_do_not_wait_for_an_unknown_key(key_set: KeySet, issuer: Issuer) -> None:
    assert await later(key_set.find("k1"))
    issuer.may_answer.clear()
    unknown = [asyncio.ensure_future(_awaitable(key_set.find(f"random {number}"))) for number in range(3)]
    await wait_until_async(lambda: len(issuer.requests) == 3)
    assert at_once(key_set.find("k1"))
    issuer.may_answer.set()
    assert await asyncio.wait_for(asyncio.gather(*unknown), 20) == [None, None, None]
    assert len(issuer.requests) == 4


async def test_a_set_that_is_used_is_renewed_before_it_is_old(key_set: KeySet, issuer: Issuer, clock: Clock) -> None:
    assert await later(key_set.find("k1"))
    clock.now += LIFESPAN_S * 0.8
    issuer.keys = {"k2": make_key("k2")}
    assert at_once(key_set.find("k1"))
    await wait_until_async(lambda: at_once(key_set.find("k2")) if key_set._fetching is None else None)
    clock.now += UNKNOWN_KEY_PAUSE_S
    assert await later(key_set.find("k1")) is None


async def test_an_old_set_is_not_believed(key_set: KeySet, issuer: Issuer, clock: Clock) -> None:
    assert await later(key_set.find("k1"))
    clock.now += LIFESPAN_S
    issuer.keys = {"k2": make_key("k2")}
    assert await later(key_set.find("k1")) is None


def _break(issuer: Issuer, how: str) -> None:
    keys = json.dumps({"keys": [show_key(make_key("k1"), "k1")]}).encode()
    match how:
        case "status":
            issuer.replace_answer(JWKS, keys, 500)
        case "discovery gone":
            issuer.replace_answer(DISCOVERY, b"", 404)
        case "redirected":
            issuer.replace_answer(JWKS, b"", 302, location=f"{issuer.url}/elsewhere")
        case "junk":
            issuer.replace_answer(JWKS, b"<html>maintenance</html>")
        case "no keys":
            issuer.replace_answer(JWKS, b'{"keys":[]}')
        case "huge":
            issuer.replace_answer(JWKS, keys + b" " * 300_000)
        case "compressed":
            body = gzip.compress(keys)
            issuer.replace_answer(JWKS, body, 200, **{"content-encoding": "gzip"})
        case "discovery junk":
            issuer.replace_answer(DISCOVERY, b"[]")
        case "discovery not JSON":
            issuer.replace_answer(DISCOVERY, b"{")
        case "another issuer's":
            issuer.replace_answer(DISCOVERY, _discover(issuer.url + "/other", issuer.url + JWKS))
        case "keys over plain http":
            issuer.replace_answer(DISCOVERY, _discover(issuer.url, "http://192.0.2.1/jwks.json"))
        case "keys in a file":
            issuer.replace_answer(DISCOVERY, _discover(issuer.url, "file:///etc/jwks.json"))
        case "keys nowhere":
            issuer.replace_answer(DISCOVERY, _discover(issuer.url, None))
        case "not HTTP":
            issuer.replace_answer(JWKS, b"x" * 10, 200, **{"content-length": "junk"})


def _discover(issuer: str, jwks_uri: Any) -> bytes:
    return json.dumps({"issuer": issuer, "jwks_uri": jwks_uri}).encode()


BROKEN = {
    "status": "answers 500",
    "discovery gone": "answers 404",
    "redirected": "answers 302",
    "junk": "not JSON",
    "no keys": "no key that",
    "huge": "more than 262144 bytes",
    "compressed": "compressed",
    "discovery junk": "another issuer's",
    "discovery not JSON": "discovery document is not JSON",
    "another issuer's": "another issuer's",
    "keys over plain http": "no jwks_uri that is https",
    "keys in a file": "no jwks_uri that is https",
    "keys nowhere": "no jwks_uri that is https",
    "not HTTP": "RemoteProtocolError",
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_issuer(
    key_set: KeySet, issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    _break(issuer, how)
    with pytest.raises(Unavailable):
        await later(key_set.find("k1"))
    assert BROKEN[how] in caplog.text
    assert "nobody can come in by them" in caplog.text
    asked = len(issuer.requests)
    with pytest.raises(Unavailable):
        await later(key_set.find("k1"))  # told at once: it was asked a moment ago
    assert len(issuer.requests) == asked
    issuer.answers.clear()
    clock.now += FAILURE_PAUSE_S
    key = await later(key_set.find("k1"))
    assert key is not None
    # The same after a good set: it stays in force, at once, however old it is.
    _break(issuer, how)
    caplog.clear()
    clock.now += LIFESPAN_S
    assert await later(key_set.find("k1")) is key
    assert "those fetched before stay in force" in caplog.text
    clock.now += 10 * LIFESPAN_S
    asked = len(issuer.requests)
    assert at_once(key_set.find("k1")) is key
    await wait_until_async(lambda: len(issuer.requests) > asked and key_set._fetching is None)
    assert at_once(key_set.find("random")) is None
    assert caplog.text.count("cannot be fetched") == 1  # told once, not at each try
    issuer.answers.clear()
    issuer.keys["k2"] = make_key("k2")
    clock.now += FAILURE_PAUSE_S
    caplog.set_level(logging.INFO)
    assert at_once(key_set.find("k1")) is key
    assert await later(key_set.find("k2"))
    assert "are fetched again" in caplog.text


async def test_an_issuer_that_is_not_there(key_sets: KeySets, issuer: Issuer) -> None:
    nobody = key_sets.open("http://127.0.0.1:1", None)
    with pytest.raises(Unavailable, match=r"the keys of http://127\.0\.0\.1:1 cannot be fetched"):
        await later(nobody.find("k1"))


async def test_an_issuer_that_does_not_answer(http: httpx.AsyncClient, issuer: Issuer) -> None:
    key_sets = KeySets(http, timeout_s=0.05)
    issuer.may_answer.clear()
    with pytest.raises(Unavailable):
        await later(key_sets.open(issuer.url, None).find("k1"))


async def test_our_own_mistake_is_logged_and_holds_nobody_up(
    key_set: KeySet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fanout.trust.key_sets.parse_key_set", lambda document: 1 // 0)
    with pytest.raises(Unavailable):
        await later(key_set.find("k1"))
    assert "ZeroDivisionError" in caplog.text


async def test_closing_ends_a_fetch(key_sets: KeySets, issuer: Issuer) -> None:
    issuer.may_answer.clear()
    key_set = key_sets.open(issuer.url, None)
    waiting = asyncio.ensure_future(_awaitable(key_set.find("k1")))
    await wait_until_async(lambda: issuer.requests)
    await key_sets.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_key_set_is_one_as_long_as_somebody_uses_it(key_sets: KeySets, issuer: Issuer) -> None:
    first = key_sets.open(issuer.url, None)
    assert await later(first.find("k1"))
    assert key_sets.open(issuer.url, None) is first
    assert key_sets.open(issuer.url, issuer.url + JWKS) is not first


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://login.example.com/a", True),
        ("http://127.0.0.1:5000/a", True),
        ("http://[::1]:5000/a", True),
        ("http://localhost:5000", True),
        ("http://login.example.com", False),
        ("http://localhost.example.com", False),
        ("http://192.0.2.1", False),
        ("https://", False),
        ("https://a:b/", False),
        ("https://[/", False),
        ("file:///etc/passwd", False),
        ("ftp://127.0.0.1/", False),
        ("login.example.com", False),
        ("", False),
    ],
)
def test_where_keys_may_come_from(http: httpx.AsyncClient, url: str, is_good: bool) -> None:
    assert is_trustworthy(url) is is_good
    if not is_good and url:
        with pytest.raises(ConfigurationError, match="by https only"):
            KeySets(http).open("https://login.example.com", url)
        with pytest.raises(ConfigurationError, match="by https only"):
            KeySets(http).open(url, None)
