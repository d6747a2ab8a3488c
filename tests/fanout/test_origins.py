"""What browsers send as Origin, against lists of operators; and what operators may list."""

from __future__ import annotations

import pytest

from fanout.origins import Origins


@pytest.mark.parametrize(
    ("allowed", "origin", "answer"),
    [
        ("*", "https://anything.example", True),
        ("*", "null", True),
        ("https://app.example.com", "https://app.example.com", True),
        ("https://app.example.com", "http://app.example.com", False),
        ("https://app.example.com", "https://app.example.com:8443", False),
        ("https://app.example.com", "https://app.example.com.evil.example", False),
        ("https://app.example.com", "https://evil.example/https://app.example.com", False),
        ("https://app.example.com", "https://appxexample.com", False),
        ("https://app.example.com", "https://app.example.com\n", False),
        ("https://app.example.com", "null", False),
        ("https://app.example.com", "", False),
        ("https://app.example.com:8443", "https://app.example.com:8443", True),
        ("http://[::1]:3000", "http://[::1]:3000", True),
        ("https://*.example.com", "https://a.example.com", True),
        ("https://*.example.com", "https://a.b-c.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://.example.com", False),
        ("https://*.example.com", "https://evil-example.com", False),
        ("https://*.example.com", "https://evil.example/.example.com", False),
        ("https://*.example.com", "https://user@a.example.com", False),
        ("chrome-extension://abcdef", "chrome-extension://abcdef", True),
    ],
)
def test_an_origin_is_allowed_as_it_is_listed(allowed: str, origin: str, answer: bool) -> None:
    assert Origins([allowed]).allows([origin]) is answer
    assert Origins(["https://other.example", allowed]).allows([origin]) is answer
    assert Origins([]).allows([origin]) is False


def test_a_program_without_origin_is_no_browser() -> None:
    assert Origins([]).allows([])
    assert not Origins(["https://a.example"]).allows(["https://a.example", "https://b.example"])


@pytest.mark.parametrize(
    "entry", ["", "app.example.com", "https://app.example.com/", "https://App.example.com", "https://*", "null", "**"]
)
def test_what_no_browser_sends_is_refused_with_what_to_write(entry: str) -> None:
    with pytest.raises(ValueError, match=r"write https://app\.example\.com"):
        Origins([entry])
