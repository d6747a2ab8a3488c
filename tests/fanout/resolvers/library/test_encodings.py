"""Form encoding, base64, JavaScript escapes, util.str; against Python's own codecs."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus, unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("hello world", "hello+world"),
        ("a-b_c.d*e", "a-b_c.d*e"),
        ("!'()~+&=/%", "%21%27%28%29%7E%2B%26%3D%2F%25"),
        ("Zürich €", "Z%C3%BCrich+%E2%82%AC"),
        ("😀", "%F0%9F%98%80"),
    ],
)
def test_form_encoding_is_that_of_java(text: str, encoded: str) -> None:
    assert RUN.run("util.urlEncode(args[0])", text) == encoded
    assert RUN.run("util.urlDecode(args[0])", encoded) == text


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_form_encoding_goes_both_ways(text: str) -> None:
    encoded = RUN.run("util.urlEncode(args[0])", text)
    assert encoded == quote_plus(text, safe="*").replace("~", "%7E")
    assert RUN.run("util.urlDecode(args[0])", encoded) == text == unquote_plus(encoded)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=12) | st.lists(st.sampled_from(b"\xe2\x82\xac\xf0\x9f\xed\xa0\xc3A"), max_size=9).map(bytes))
def test_bytes_that_are_no_utf_8_are_replaced(data: bytes) -> None:
    expected = data.decode("utf-8", "replace")
    assert RUN.run("util.base64Decode(args[0])", base64.b64encode(data).decode()) == expected
    assert RUN.run("util.urlDecode(args[0])", "".join(f"%{byte:02x}" for byte in data)) == expected


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "a%4 ", "%-1"])
def test_what_is_not_form_encoded_is_refused(text: str) -> None:
    assert "is not a percent sign and two hexadecimal digits" in RUN.error("util.urlDecode(args[0])", text)


def test_half_a_pair_is_a_question_mark() -> None:
    assert RUN.run(r"[util.urlEncode('a\ud800b'), util.base64Encode('a\ud800b')]") == ["a%3Fb", "YT9i"]


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_base64_goes_both_ways(text: str) -> None:
    encoded = RUN.run("util.base64Encode(args[0])", text)
    assert encoded == base64.b64encode(text.encode()).decode()
    assert RUN.run("util.base64Decode(args[0])", encoded) == text
    for_urls = base64.urlsafe_b64encode(text.encode()).decode()
    assert RUN.run("util.base64Decode(args[0])", for_urls.rstrip("=")) == text


@pytest.mark.parametrize("text", ["a", "ab*=", "a=bc", "é"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    assert "the text is not base64" in RUN.error("util.base64Decode(args[0])", text)


def test_javascript_is_escaped_as_commons_does() -> None:
    text = 'it\'s "a\\b" </script>\b\n\t\f\r\x01\x7fé😀'
    expected = r"it\'s \"a\\b\" <\/script>\b\n\t\f\r\u0001" + "\x7f" + r"\u00E9\uD83D\uDE00"
    assert RUN.run("util.escapeJavaScript(args[0])", text) == expected


def test_texts_are_changed() -> None:
    assert RUN.run("util.str.toUpper('hello ß')") == "HELLO SS"
    assert RUN.run("util.str.toLower('HeLLo')") == "hello"
    assert RUN.run("util.str.toReplace('hello world', 'hello', 'mellow')") == "mellow world"
    assert RUN.run("util.str.toReplace('a.b.c', '.', '$&')") == "a$&b$&c"
    assert RUN.run("util.str.toReplace('abc', '', '-')") == "-a-b-c-"
    composed, apart = "Am\u00e9lie \ufb01", "Ame\u0301lie \ufb01"
    assert RUN.run("['nfc', 'NFD', 'nfkc', 'nfkd'].map((form) => util.str.normalize(args[0], form))", composed) == [
        composed,
        apart,
        "Am\u00e9lie fi",
        "Ame\u0301lie fi",
    ]
    assert "is not one of nfc, nfd, nfkc, nfkd" in RUN.error("util.str.normalize('a', 'nfx')")


@pytest.mark.parametrize("name", ["urlEncode", "urlDecode", "base64Encode", "base64Decode", "str.toUpper"])
def test_what_is_no_text_is_refused_by_name(name: str) -> None:
    assert RUN.error(f"util.{name}(null)") == f"TypeError: util.{name} takes a string, not null"
