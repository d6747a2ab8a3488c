"""The kinds of results: objects, lists, scalars, and null that nobody can publish."""

from __future__ import annotations

import pytest

from fanout.schema.results import ResultKinds, describe_mismatch
from fanout.schema.sdl import parse_schema

SCHEMA = parse_schema(
    """
    type Query { a: Int }
    type Message { id: ID }
    union Thing = Message
    type Mutation { one: Message some: [Message!]! volume: Float thing: Thing! json: AWSJSON }
    """
)


@pytest.mark.parametrize(
    ("mutation", "data", "words"),
    [
        ("one", {}, ""),
        ("thing", {"id": "1"}, ""),
        ("some", [], ""),
        ("volume", 0.5, ""),
        ("json", {"any": 1}, ""),
        ("json", [1], ""),
        ("unknown", None, ""),
        ("one", None, "a mutation without one has no event"),
        ("volume", None, "a mutation without one has no event"),
        ("one", [{}], "result is an object (Message)"),
        ("one", '{"id": 1}', "send the object itself, not its JSON text"),
        ("thing", 5, "result is an object (Thing!)"),
        ("some", {}, "result is a list ([Message!]!)"),
    ],
)
def test_what_fits_and_what_does_not(mutation: str, data: object, words: str) -> None:
    told = ResultKinds(SCHEMA).describe_mismatch(mutation, data)
    assert words in told
    assert bool(words) == bool(told)
    mutation_type = SCHEMA.graphql.mutation_type
    assert mutation_type is not None
    if field := mutation_type.fields.get(mutation):
        assert describe_mismatch(data, field.type) == told


def test_a_schema_without_mutations_has_no_results() -> None:
    assert ResultKinds(parse_schema("type Query { a: Int }")).describe_mismatch("any", None) == ""
