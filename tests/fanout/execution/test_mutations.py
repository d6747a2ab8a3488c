"""What a mutation results in without a resolver, by its types; `test_executor` has it in whole documents."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest

from fanout.execution.mutations import MutationDefaults, make_id, read_clock
from fanout.schema.sdl import parse_schema

SCHEMA = parse_schema(
    """
    type Query { a: Int }
    interface Shape { id: ID! }
    type Circle implements Shape { id: ID! radius: Float }
    type Square implements Shape { id: ID! side: Float }
    type Post { id: ID! title: String shape: Shape createdAt: AWSDateTime updatedAt: String }
    input ShapeInput { radius: Float side: Float }
    input PostInput { id: ID title: String shape: ShapeInput }
    type Mutation {
      input(input: PostInput, other: Int): Post
      only(post: PostInput): Post
      all(id: ID, title: String): Post
      scalar(text: String): String
      list(posts: [PostInput]): [Post]
      shape(input: ShapeInput): Shape
    }
    """
).graphql
MADE = {"id": "id-1", "createdAt": "now"}


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("input", {"input": {"title": "t"}, "other": 1}, {"title": "t", **MADE}),
        ("input", {"input": {"id": "mine"}}, {"id": "mine", "createdAt": "now"}),
        ("input", {"input": None}, None),
        ("input", {}, None),
        ("only", {"post": {"title": None}}, {"title": None, **MADE}),
        ("all", {"title": "t"}, {"title": "t", **MADE}),
        ("all", {}, MADE),
        ("scalar", {"text": "x"}, "x"),
        ("list", {"posts": [{}, None]}, [MADE, None]),
        ("shape", {"input": {"side": 1.0}}, {"side": 1.0, "__typename": "Square", "id": "id-1"}),
        ("shape", {"input": {}}, {}),
        ("only", {"post": {"shape": {"radius": 1.0}}}, {"shape": {"radius": 1.0, "__typename": "Circle"}, **MADE}),
    ],
)
def test_the_value_of_a_mutation_is_its_input(name: str, arguments: dict[str, Any], value: Any) -> None:
    numbers = count(1)
    defaults = MutationDefaults(SCHEMA, lambda: "now", lambda: f"id-{next(numbers)}")
    assert SCHEMA.mutation_type
    before = repr(arguments)
    assert defaults.build_value(SCHEMA.mutation_type.fields[name], arguments) == value
    assert repr(arguments) == before


def test_generated_values_have_their_form() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", make_id())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", read_clock())
