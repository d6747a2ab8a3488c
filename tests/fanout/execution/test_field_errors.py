"""Entries of `errors` and their order; `test_field_calls` has them in whole responses."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from graphql import FragmentDefinitionNode, GraphQLError, OperationDefinitionNode, build_schema, parse

from fanout.errors import FieldDenied
from fanout.execution.field_errors import FieldError, format_error, order_errors, reword_null

SCHEMA = build_schema("type Query { a: [[A!]!]! b: A } type A { c: [Int!] d: Int! }")


@pytest.mark.parametrize(
    ("error", "entry"),
    [
        (FieldError("m", "T"), {"data": None, "errorType": "T", "errorInfo": None}),
        (FieldError("m", "T", {"d": 1}, [2]), {"data": {"d": 1}, "errorType": "T", "errorInfo": [2]}),
        (FieldDenied("A", "b"), {"data": None, "errorType": "Unauthorized", "errorInfo": None}),
    ],
)
def test_a_failed_field_has_appsync_s_entry(error: Exception, entry: dict[str, Any]) -> None:
    node = parse("{ a }").definitions[0]
    located = GraphQLError("text", [node], path=["a", 0], original_error=error)
    assert format_error(located) == {
        "path": ["a", 0],
        "locations": [{"line": 1, "column": 1, "sourceName": None}],
        "message": "text",
        **entry,
    }
    other = GraphQLError("text", [node], path=["a"], original_error=ValueError("x"))
    assert format_error(other) == other.formatted


@pytest.mark.parametrize(
    ("field", "path", "text"),
    [
        ("A.d", ["b", "d"], "'Int' within parent 'A' (/b/d)"),
        ("A.c", ["b", "c", 3], "'Int' within parent 'A' (/b/c[3])"),
        ("Query.a", ["a", 1, 0], "'A' within parent 'Query' (/a[1][0])"),
        ("Query.a", ["a", 1], "'[A!]' within parent 'Query' (/a[1])"),
        ("Query.a", ["other"], "'[[A!]!]' within parent 'Query' (/other)"),
    ],
)
def test_a_null_where_there_can_be_none_is_told_in_appsync_s_words(
    field: str, path: list[str | int], text: str
) -> None:
    message = f"Cannot return null for non-nullable field {field}."
    error = GraphQLError(message, path=path, original_error=TypeError(message))
    expected = f"Cannot return null for non-nullable type: {text}"
    assert reword_null(SCHEMA, error) == {"path": path, "locations": None, "message": expected}


def test_what_only_looks_like_it_stays() -> None:
    """A resolver may say what it likes."""
    message = "Cannot return null for non-nullable field A.d."
    assert reword_null(SCHEMA, GraphQLError(message, path=["a"], original_error=FieldError(message, "T"))) is None
    assert reword_null(SCHEMA, GraphQLError("Other.", original_error=TypeError("Other."))) is None


def test_errors_are_ordered_by_their_places() -> None:
    document = parse(
        """
        { z: b { ...F y: d ... @include(if: true) { x: d } } b { d } }
        fragment F on A { d c }
        """
    )
    operation, fragment = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert isinstance(fragment, FragmentDefinitionNode)
    paths: list[list[str | int]] = [
        ["z"],
        ["z", "d"],
        ["z", "c"],
        ["z", "c", 2],
        ["z", "c", 10],
        ["z", "y"],
        ["z", "x"],
        ["b", "d"],
        ["b", "unknown"],
    ]
    errors = [GraphQLError("m", path=path) for path in paths]
    shuffled = Random(7).sample(errors, len(errors))
    assert order_errors(shuffled, operation.selection_set, {"F": fragment}) == errors
    assert order_errors(errors[:1], operation.selection_set, {}) == errors[:1]
