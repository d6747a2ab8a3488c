"""Which operations call resolvers, worked out from the document alone."""

from __future__ import annotations

import pytest
from graphql import specified_rules

from fanout.execution.resolved_operations import find_resolved_operations
from fanout.schema.documents import Document, DocumentReader
from fanout.schema.sdl import parse_schema
from fanout.settings import Settings
from tests.fanout.schema.resolvers import by_place

SCHEMA = parse_schema(
    """
    type Query { a: A plain: Int any: Any node: Node }
    type Mutation { m: A }
    interface Node { id: ID next: Node }
    type A implements Node { id: ID next: Node x: Int }
    type B implements Node { id: ID next: Node x: Int }
    union Any = A | B
    """
).graphql


@pytest.mark.parametrize(
    ("query", "place", "names"),
    [
        ("{ plain }", "A__x", []),
        ("{ a { id } }", "A__x", []),
        ("{ a { x } }", "A__x", [""]),
        ("{ other: a { x } }", "Query__a", [""]),
        ("{ a { next { next { id } } } }", "B__id", [""]),
        ("{ node { id } }", "Query__plain", []),
        ("{ any { __typename } }", "B__x", []),
        ("{ any { ... on A { x } } }", "B__x", []),
        ("{ any { ... on B { x } } }", "B__x", [""]),
        ("{ any { ... on Node { id } } }", "B__id", [""]),
        ("{ any { ... { ... on B { x } } } }", "B__x", [""]),
        (
            "query One { plain } mutation Two { m { ...F } } fragment F on A { next { ... on B { x } } }",
            "B__x",
            ["Two"],
        ),
        ("query One { a { ...F } } query Two { a { ...F id } } fragment F on A { id }", "A__id", ["One", "Two"]),
        ("query One { a { ...F } } query Two { a { ...F x } } fragment F on A { id }", "A__x", ["Two"]),
        ("{ __schema { types { name } } __typename }", "A__x", []),
    ],
)
def test_operations_with_a_resolver_are_found(query: str, place: str, names: list[str]) -> None:
    document = DocumentReader(SCHEMA, Settings(), specified_rules).read(query)
    assert isinstance(document, Document)
    assert find_resolved_operations(SCHEMA, by_place(**{place: lambda _: None}), document) == set(names)
    assert find_resolved_operations(SCHEMA, {}, document) == set()
