"""Ids and chance: RFC 8439's vectors, `cryptography` as the outside judge, and what ids are made of."""

from __future__ import annotations

import json
import re
import uuid
from importlib.resources import files

import pytest
import quickjs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fanout.resolvers.running import NOW, Expressions

RUN = Expressions()
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def draw(entropy: bytes, *counts: int) -> bytes:
    """What the part draws, in several steps, made with nothing around it."""
    part = (files("fanout.resolvers") / "library" / "chance.js").read_text()
    code = f"""(() => {{
      const host = {{ call: {{ entropy: "{entropy.hex()}" }} }};
      ({part})(host, {{}});
      return JSON.stringify({json.dumps(counts)}.flatMap((count) => host.draw(count)));
    }})()"""
    return bytes(json.loads(quickjs.Context().eval(code)))


@pytest.mark.parametrize(
    ("key", "skipped", "stream"),
    [
        # RFC 8439, appendix A.1: vectors 1 to 4, which all have a nonce of zeros.
        (bytes(32), 0, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"),
        (bytes(32), 1, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"),
        (bytes(31) + b"\1", 1, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"),
        (b"\0\xff" + bytes(30), 2, "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"),
    ],
)
def test_the_stream_is_that_of_the_rfc(key: bytes, skipped: int, stream: str) -> None:
    assert draw(key, 64 * skipped, 32)[64 * skipped :].hex() == stream


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(0, 90), max_size=6))
def test_the_stream_is_that_of_another_implementation(key: bytes, counts: list[int]) -> None:
    judge = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    assert draw(key, *counts) == judge.update(bytes(sum(counts)))


def test_what_is_given_beyond_the_key_is_drawn_first() -> None:
    key, more = bytes(range(32)), bytes(range(200, 216))
    assert draw(key + more, 10, 6) == more
    assert draw(key + more, 20)[16:] == draw(key, 4)


def test_ids_are_new_in_every_call_and_within_one() -> None:
    drawn = [text for _ in range(20) for text in RUN.run("[1, 2, 3, 4, 5].map(() => util.autoId())")]
    assert len(set(drawn)) == 100
    for text in drawn:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_a_ulid_begins_with_the_time() -> None:
    text = RUN.run("util.autoUlid()")
    assert re.fullmatch(f"[{CROCKFORD}]{{26}}", text)
    number = sum(CROCKFORD.index(sign) * 32**at for at, sign in enumerate(reversed(text)))
    assert number >> 80 == int(NOW * 1000)
    assert RUN.run("util.autoUlid()") != text


def test_a_ksuid_begins_with_the_time() -> None:
    text = RUN.run("util.autoKsuid()")
    assert re.fullmatch("[0-9A-Za-z]{27}", text)
    number = sum(BASE62.index(sign) * 62**at for at, sign in enumerate(reversed(text)))
    assert (number >> 128) + 1_400_000_000 == int(NOW)
    assert RUN.run("util.autoKsuid()") != text


@pytest.mark.parametrize(("value", "rounded"), [(10.2, 10), (10.8, 11), (10.5, 11), (-10.5, -10), (10, 10)])
def test_numbers_are_rounded_as_by_java(value: float, rounded: int) -> None:
    assert RUN.run("util.math.roundNum(args[0])", value) == rounded


def test_the_lesser_and_the_greater() -> None:
    assert RUN.run("[util.math.minVal(13.45, 45.67), util.math.maxVal(13.45, 45.67)]") == [13.45, 45.67]
    assert RUN.error("util.math.minVal('1', 2)") == "TypeError: util.math.minVal takes numbers, not a string"


def test_random_numbers_are_within_their_range() -> None:
    doubles = RUN.run("Array.from({ length: 200 }, () => util.math.randomDouble())")
    assert all(0 <= value < 1 for value in doubles)
    assert len(set(doubles)) == 200
    assert min(doubles) < 0.2 < 0.8 < max(doubles)
    numbers = RUN.run("Array.from({ length: 200 }, () => util.math.randomWithinRange(3, 7))")
    assert set(numbers) == {3, 4, 5, 6}
    assert RUN.run("util.math.randomWithinRange(3, 3)") == 3
    assert "is above" in RUN.error("util.math.randomWithinRange(4, 3)")
