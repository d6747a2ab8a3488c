"""Positions as text: what was written is read back, and any other text is refused in one of two ways."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.bus.entries import EntryId
from fanout.bus.tokens import VERSION, read_token, write_token
from fanout.engine import Token
from fanout.errors import BadRequest, PositionExpired

numbers = st.integers(0, 2**64 - 1)
places = st.builds(EntryId, numbers, numbers)
epochs = st.binary(min_size=8, max_size=8)
positions = st.lists(st.tuples(epochs, places), min_size=1, max_size=5)


@given(positions)
def test_what_is_written_is_read(given: list[tuple[bytes, EntryId]]) -> None:
    token = Token(tuple(epoch for epoch, _ in given), tuple(place for _, place in given))
    text = write_token(token.epochs, token.places).decode()
    assert read_token(text, len(given)) == token
    assert text == "".join(character for character in text if character.isalnum() or character in "-_")
    with pytest.raises(PositionExpired, match="other streams"):
        read_token(text, len(given) + 1)


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()), st.integers(1, 3))
def test_any_text_is_a_position_or_refused(text: str, streams: int) -> None:
    try:
        token = read_token(text, streams)
    except (BadRequest, PositionExpired):
        return
    assert write_token(token.epochs, token.places).decode() == text


@given(positions, st.data())
def test_a_position_that_was_changed_is_never_read_as_the_same(
    given: list[tuple[bytes, EntryId]], data: st.DataObject
) -> None:
    text = write_token([epoch for epoch, _ in given], [place for _, place in given]).decode()
    index = data.draw(st.integers(0, len(text) - 1))
    changed = text[:index] + data.draw(st.sampled_from("Aa9-_+/= \n")) + text[index + 1 :]
    if changed == text:
        return
    try:
        token = read_token(changed, len(given))
    except (BadRequest, PositionExpired):
        return
    assert token != read_token(text, len(given))


@pytest.mark.parametrize("text", ["", "=", "A", "AQ==", "AQ", "hello", "\u00e4", "AQ" + "A" * 31, "x" * 4000])
def test_what_is_no_position_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest, match="is not a position"):
        read_token(text, 1)


def test_a_position_of_another_version_is_expired() -> None:
    text = base64.urlsafe_b64encode(bytes((VERSION + 1,)) + b"anything").rstrip(b"=").decode()
    with pytest.raises(PositionExpired, match="another version"):
        read_token(text, 1)
