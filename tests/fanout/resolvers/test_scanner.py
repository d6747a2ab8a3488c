"""Tokens of JavaScript: what a slash is, what a bracket is, what does not end."""

from __future__ import annotations

import pytest

from fanout.resolvers.scanner import Kind, ScanError, scan


def list_regexes(source: str) -> list[str]:
    return [token.text for token in scan(source) if token.kind is Kind.REGEX]


@pytest.mark.parametrize(
    "source",
    [
        "a / b / c",
        "(a) / b / c",
        "a[0] / b / c",
        "1 / 2 / 3",
        "x = {} / b / c",
        "return_ / b / c",
        "a.return / b / c",
        "a?.typeof / b / c",
        "`t` / b / c",
        "`${a}` / b / c",
        "a++ / b / c",
        "x = function () {} / b / c",
        "x = class {} / b / c",
        "this / b / c",
        "a ? { b: 1 } / 2 : 3 / 4",
        "f(function () {} / b / c)",
        "'a' / b / c",
    ],
)
def test_division(source: str) -> None:
    assert list_regexes(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "/b/g",
        "x = /b/g",
        "return /b/g",
        "if (a) /b/g.test(c)",
        "while (a) /b/g.test(c)",
        "{} /b/g.test(c)",
        "if (a) {} /b/g.test(c)",
        "function f() {} /b/g.test(c)",
        "class A {} /b/g.test(c)",
        "class A extends B {} /b/g.test(c)",
        "(/b/g)",
        "[/b/g]",
        "a ? /b/g : c",
        "case: /b/g",
        "x => /b/g",
        "`${/b/g}`",
        "`a${`b${/b/g}`}`",
        "a && /b/g",
        "!/b/g",
        "typeof /b/g",
        "do /b/g.test(c); while (d)",
        "switch (a) { case 1: {} /b/g.test(c) }",
        "x = { a: 1, b() { return /b/g } }",
    ],
)
def test_regular_expression(source: str) -> None:
    assert list_regexes(source) == ["/b/g"]


def test_classes_and_escapes_do_not_end_a_regular_expression() -> None:
    assert list_regexes(r"x = /[/\]]\//u; y = 1") == [r"/[/\]]\//u"]


def test_depth_and_lines() -> None:
    tokens = scan("a\n{ b(c) /* d\n */ e }\n`f${{ g: `h` }}` // i")
    assert [(token.text, token.depth, token.after_newline) for token in tokens] == [
        ("a", 0, False),
        ("{", 0, True),
        ("b", 1, False),
        ("(", 1, False),
        ("c", 2, False),
        (")", 1, False),
        ("e", 1, True),
        ("}", 0, False),
        ("`f${", 0, True),
        ("{", 1, False),
        ("g", 2, False),
        (":", 2, False),
        ("`h`", 2, False),
        ("}", 1, False),
        ("}`", 0, False),
        ("", 0, True),
    ]


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("a(", "`(` is not closed", 1),
        ("a)", "unexpected `)`", 1),
        ("{ ( }", "unexpected `}`", 4),
        ("}, function () {", "unexpected `}`", 0),
        ("'a", "the string is not closed", 0),
        ("'a\nb'", "the string is not closed", 0),
        ("x `a${b", "`${` is not closed", 4),
        ("x `a", "the template string is not closed", 2),
        ("a /* b", "the comment is not closed", 2),
        ("a \\ b", "unexpected character '\\\\'", 2),
        ("<!-- a", "HTML's comments are none in a module", 0),
        ("a\n--> b", "HTML's comments are none in a module", 2),
    ],
)
def test_what_is_no_javascript_is_refused_where_it_is(source: str, message: str, offset: int) -> None:
    with pytest.raises(ScanError) as raised:
        scan(source)
    assert (raised.value.message, raised.value.offset) == (message, offset)
