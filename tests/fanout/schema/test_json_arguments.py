"""AWSJSON is parsed wherever it stands in arguments, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.schema.json_arguments import JsonArguments
from fanout.schema.sdl import parse_schema

SCHEMA = parse_schema(
    """
    input Deep { meta: AWSJSON all: [[AWSJSON]] next: Deep text: String }
    type Query {
      one(meta: AWSJSON! text: String): Int
      deep(input: Deep): Int
      list(inputs: [Deep!]): Int
      none(text: String, id: ID): Int
    }
    """
).graphql
QUERY: Any = SCHEMA.query_type
ALL = [("Query", name) for name in ("one", "deep", "list", "none")]


@pytest.mark.parametrize(
    ("name", "given", "seen"),
    [
        ("one", {"meta": '{"a": [1]}', "text": "[1]"}, {"meta": {"a": [1]}, "text": "[1]"}),
        ("one", {"meta": "null"}, {"meta": None}),
        ("deep", {"input": None}, {"input": None}),
        ("deep", {}, {}),
        (
            "deep",
            {"input": {"next": {"meta": "1"}, "all": [['"x"', None], None], "text": "1", "meta": None}},
            {"input": {"next": {"meta": 1}, "all": [["x", None], None], "text": "1", "meta": None}},
        ),
        ("list", {"inputs": [{"meta": "[]"}, {}]}, {"inputs": [{"meta": []}, {}]}),
        ("none", {"text": "[1]", "id": "2"}, {"text": "[1]", "id": "2"}),
    ],
)
def test_json_is_parsed(name: str, given: dict[str, Any], seen: dict[str, Any]) -> None:
    before = repr(given)
    assert JsonArguments(SCHEMA, ALL).parse(QUERY, name, given) == seen
    assert repr(given) == before


def test_fields_that_were_not_named_stay_as_they_are() -> None:
    arguments = {"meta": "[1]"}
    parsed = JsonArguments(SCHEMA, [("Query", "deep"), ("Query", "unknown"), ("Nothing", "x")])
    assert parsed.parse(QUERY, "one", arguments) is arguments
