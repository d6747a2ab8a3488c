"""Whose address counts: the peer's, or what trusted proxies say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.gateway.addresses import AddressReader

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # says so itself
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),  # the left one is the client's own word
        ("10.0.0.1", ["1.1.1.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),  # two proxies, two headers
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:5123"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8:1:2:3:4:5:6]:443"], "2001:db8:1:2::/64"),
        ("2001:db8:ffff::1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("unix", ["198.51.100.7"], "unix"),
    ],
)
def test_the_address_that_counts(peer: str, forwarded: list[str], expected: str) -> None:
    assert AddressReader(PROXIES).read(peer, forwarded) == expected


def test_nobody_is_trusted_unless_configured() -> None:
    assert AddressReader(()).read("10.0.0.1", ["198.51.100.7"]) == "10.0.0.1"


@given(st.text(), st.lists(st.text()))
def test_any_text_gives_an_address(peer: str, forwarded: list[str]) -> None:
    assert isinstance(AddressReader(PROXIES).read(peer, forwarded), str)
    assert AddressReader(PROXIES).read("10.0.0.1", forwarded)


@pytest.mark.parametrize(
    ("trusted", "addresses", "believed"),
    [
        ([], ["203.0.113.7"], ["203.0.113.7"]),
        ([], ["198.51.100.1", "203.0.113.7"], ["203.0.113.7"]),
        (["10.0.0.0/8"], ["198.51.100.1", "203.0.113.7", "10.0.0.1"], ["203.0.113.7", "10.0.0.1"]),
        (["10.0.0.0/8"], ["203.0.113.7", "10.0.0.2", "10.0.0.1"], ["203.0.113.7", "10.0.0.2", "10.0.0.1"]),
        (["10.0.0.0/8"], ["203.0.113.7", "nonsense", "10.0.0.1"], ["10.0.0.1"]),
        (["10.0.0.0/8"], ["203.0.113.7", "unix"], ["unix"]),
    ],
)
def test_a_trace_is_as_long_as_it_can_be_believed(
    trusted: list[str], addresses: list[str], believed: list[str]
) -> None:
    assert AddressReader(trusted).trace(addresses) == tuple(believed)
