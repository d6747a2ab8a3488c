from __future__ import annotations

import pickle
import re
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth import ApiKeys, digest_key, generate_key
from fanout.errors import ConfigurationError, Unauthorized
from fanout.model import Identity, KeyKind, StoredKey

KEY = "da2-abcdefghijklmnopqrstuvwxyz"
DIGEST = sha256(KEY.encode()).hexdigest()
IDENTITY = Identity("API_KEY", subject=f"sha256:{DIGEST[:16]}")
EXPIRY_SECONDS = 1_801_353_600  # 2027-01-31T00:00:00Z

visible_keys = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="@"), min_size=1
).filter(lambda key: not key.startswith("sha256:"))


@pytest.mark.parametrize("entry", [KEY, f"sha256:{DIGEST}", f"sha256:{DIGEST.upper()}", f"{KEY}@9999-12-31T23:59:59Z"])
def test_a_key_is_accepted_in_every_form(entry: str) -> None:
    assert ApiKeys([entry]).check(KEY) == IDENTITY


@pytest.mark.parametrize("key", [None, "", KEY + "x", KEY[:-1], KEY.upper(), DIGEST, f"sha256:{DIGEST}", "ä", "\ud800"])
def test_other_keys_are_not(key: str | None) -> None:
    for keys in (ApiKeys([KEY, f"sha256:{'0' * 64}"]), ApiKeys([])):
        with pytest.raises(Unauthorized) as caught:
            keys.check(key)
        assert caught.value.message == "You are not authorized to make this call."


@pytest.mark.parametrize(
    "instant", ["2027-01-31T00:00:00Z", "2027-01-31T00:00:00+00:00", "2027-01-31T05:30:00+05:30", "2027-01-31T00Z"]
)
@pytest.mark.parametrize("secret", [KEY, f"sha256:{DIGEST}"])
def test_a_key_is_good_until_its_instant(secret: str, instant: str) -> None:
    now = float(EXPIRY_SECONDS - 1)
    keys = ApiKeys([f"{secret}@{instant}"], now=lambda: now)
    assert keys.check(KEY).mode == "API_KEY"
    now = float(EXPIRY_SECONDS)
    with pytest.raises(Unauthorized):
        keys.check(KEY)


def test_a_key_that_has_expired_does_not_stop_the_others() -> None:
    keys = ApiKeys(["old@2020-01-01T00:00:00Z", "new"])
    assert keys.check("new").mode == "API_KEY"
    with pytest.raises(Unauthorized):
        keys.check("old")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "@2027-01-31T00:00:00Z",
        "a key",
        "kéy",
        "k\n",
        "sha256:",
        f"sha256:{DIGEST[:-1]}",
        f"sha256:{DIGEST[:-1]}g",
        f"sha256:{DIGEST[:-2]} a",
        f"{KEY}@",
        f"{KEY}@soon",
        f"{KEY}@2027-01-31",
        f"{KEY}@2027-01-31T00:00:00",
        f"{KEY}@2027-02-31T00:00:00Z",
        f"{KEY}@2027-01-31T00:00:00Z@2027-01-31T00:00:00Z",
    ],
)
def test_a_bad_entry_is_the_operator_s_mistake(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^publisher_key 2 \(") as caught:
        ApiKeys(["first", entry], setting="publisher_key")
    assert "\n" not in str(caught.value)
    assert KEY[:5] not in str(caught.value)


def test_a_key_given_twice_is_the_operator_s_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"^api_key 3 \(.*given before"):
        ApiKeys([KEY, "other", f"sha256:{DIGEST}@2027-01-31T00:00:00Z"])


@given(visible_keys)
def test_an_error_shows_at_most_four_characters_and_a_quarter_of_the_key(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ApiKeys([f"{key}@never"])
    shown = re.match(r"api_key 1 \((.*?)\.\.\.\): ", str(caught.value))
    assert shown is not None
    assert len(shown[1]) <= min(4, len(key) // 4)
    assert key.startswith(shown[1])


@given(st.lists(visible_keys, unique=True, max_size=5), st.text(st.characters()))
def test_exactly_the_given_keys_are_accepted(given_keys: list[str], other: str) -> None:
    keys = ApiKeys(given_keys)
    for key in given_keys:
        assert keys.check(key).mode == "API_KEY"
    if other not in given_keys:
        with pytest.raises(Unauthorized):
            keys.check(other)


def test_only_digests_are_kept() -> None:
    keys = ApiKeys([KEY])
    kept = [getattr(keys, name) for name in keys.__slots__]
    assert KEY not in repr(keys)
    assert KEY not in repr(kept)
    assert KEY.encode() not in pickle.dumps(kept)


def test_generated_keys() -> None:
    made = {generate_key() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"da2-[a-z0-9]{26}", key) for key in made)
    assert ApiKeys(made).check(next(iter(made))).mode == "API_KEY"


def test_an_identity_holds_as_long_as_its_key_would_be_accepted() -> None:
    now = float(EXPIRY_SECONDS - 1)
    keys = ApiKeys([f"{KEY}@2027-01-31T00:00:00Z", "other"], now=lambda: now)
    assert keys.holds(IDENTITY)
    assert keys.next_expiry() == EXPIRY_SECONDS
    now = float(EXPIRY_SECONDS)
    assert not keys.holds(IDENTITY)
    assert keys.holds(keys.check("other"))
    assert keys.next_expiry() == float("inf")
    assert not ApiKeys(["other"]).holds(IDENTITY)
    assert not ApiKeys([KEY]).holds(Identity("JWT"))
    assert (len(keys), len(ApiKeys(()))) == (2, 0)


def test_all_who_hold_a_key_are_one_identity() -> None:
    keys = ApiKeys([KEY])
    assert keys.check(KEY) is keys.check(KEY)


def store(key: str, expires_at: int = EXPIRY_SECONDS) -> StoredKey:
    return StoredKey(digest_key(key), KeyKind.API, "", 0, expires_at)


def is_good(keys: ApiKeys, key: str) -> bool:
    try:
        return keys.holds(keys.check(key))
    except Unauthorized:
        return False


def test_stored_keys_are_good_beside_configured_ones_until_they_expire() -> None:
    now = float(EXPIRY_SECONDS - 1)
    keys = ApiKeys(["configured"], now=lambda: now)
    keys.store([store("a"), store("b", EXPIRY_SECONDS + 1)])
    a = keys.check("a")
    assert a == Identity("API_KEY", subject="sha256:" + sha256(b"a").hexdigest()[:16])
    assert len(keys) == 3
    assert keys.next_expiry() == EXPIRY_SECONDS
    keys.store([store("a"), store("c")])
    assert keys.check("a") is a
    assert [key for key in ("configured", "a", "b", "c") if is_good(keys, key)] == ["configured", "a", "c"]
    now = float(EXPIRY_SECONDS)
    assert [key for key in ("configured", "a", "b", "c") if is_good(keys, key)] == ["configured"]
    assert not keys.holds(a)
    keys.store([])
    assert len(keys) == 1


def test_a_key_that_is_configured_and_stored_is_good_as_long_as_either_is() -> None:
    now = float(EXPIRY_SECONDS - 1)
    keys = ApiKeys([KEY, "short@2027-01-31T00:00:00Z"], now=lambda: now)
    identity = keys.check(KEY)
    keys.store([store(KEY), store("short", EXPIRY_SECONDS + 1)])
    assert keys.check(KEY) is identity
    now = float(EXPIRY_SECONDS)
    assert is_good(keys, KEY)
    assert is_good(keys, "short")
    keys.store([])
    assert is_good(keys, KEY)
    assert not is_good(keys, "short")
