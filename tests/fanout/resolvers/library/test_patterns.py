"""util.matches: Java's regular expressions."""

from __future__ import annotations

import re

import pytest

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("a*b", "aaaaab", True),  # The guide's example.
        ("a*b", "xaaaaab", False),
        ("a|ab", "ab", True),
        ("^[a-z]+$", "abc", True),
        (".", "😀", True),
        (".*", "a\nb", False),
        ("(?s).*", "a\nb", True),
        ("(?i)HELLO", "hello", True),
        (r"\Qa.b\E+", "a.bb", True),
        (r"\Qa.b", "axb", False),
        (r"\Aab\z", "ab", True),
        (r"ab\Z", "ab", True),
        (r"\p{Alpha}+\p{Digit}", "abc1", True),
        (r"\p{Alpha}", "é", False),
        (r"\P{Alpha}\p{^Alpha}", "1é", True),
        (r"\p{L}+", "né", True),
        (r"\p{IsAlphabetic}\p{Lu}\pL", "éÉé", True),
        (r"\p{IsLatin}\p{IsGreek}", "a\u03b1", True),
        (r"\p{Punct}", "-", True),
        (r"[\p{Punct}]", "]", True),
        (r"[\p{Upper}_]+", "A_B", True),
        (r"[\w.+\-@]+", "a.b+c-d@e", True),
        (r"\@\#\_\-\"", '@#_-"', True),
        (r"a{2,3}}]", "aa}]", True),
        (r"[]a]", "]", True),
        (r"[^]a]", "b", True),
        (r"[(){}|/]", "{", True),
        (r"(?<year>\d{4})-\k<year>", "2024-2024", True),
        (r"(?=a)a(?!b)c(?<=c)(?<!d)", "ac", True),
        (r"\h\R", "\t\r\n", True),
        (r"\x41\u0042", "AB", True),
        (r"a+?b??", "aab", True),
    ],
)
def test_patterns_mean_what_they_mean_in_java(pattern: str, text: str, is_match: bool) -> None:
    assert RUN.run("util.matches(args[0], args[1])", pattern, text) is is_match


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("a++", 'a possessive quantifier at character 3 of the pattern "a++"'),
        ("a{1,2}+", "a possessive quantifier at character 7"),
        ("(?>a)", "the group (?> at character 1"),
        ("a(?i)b", "the group (?i at character 2"),
        ("[a-z&&[^b]]", "an intersection of classes at character 5"),
        ("[a[b]]", "a class within a class at character 3"),
        (r"a\G", r"\G at character 2"),
        ("(?x)a b", "the flag x"),
        ("a\\", "a single backslash"),
        (r"[\P{Alpha}]", "a negated class within a class"),
    ],
)
def test_what_has_no_equal_is_refused_by_name(pattern: str, what: str) -> None:
    error = RUN.error("util.matches(args[0], '')", pattern)
    assert re.search(re.escape(what), error)
    assert error.endswith("is not supported.")


def test_only_texts_are_matched() -> None:
    assert RUN.error("util.matches('a', 1)") == "TypeError: util.matches takes strings, not a number"
