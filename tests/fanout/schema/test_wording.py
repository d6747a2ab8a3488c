"""AppSync's words for mistakes, as captured from the service; DataStore looks for parts of them."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLError, OperationDefinitionNode, build_schema, get_variable_values, parse, validate

from fanout.schema.wording import SUBSCRIPTION_RULES, reword_variable_errors

SCHEMA = build_schema(
    """
    type Query { a: Int }
    input Inner { n: Int! deep: [Inner!] }
    input Filter { name: String inner: Inner }
    type Author { name: String }
    type Post { id: ID author(first: Int): Author }
    type Subscription { onPost(id: ID, filter: Filter): Post other: Post }
    """
)


def messages(query: str) -> list[str]:
    return [error.message for error in validate(SCHEMA, parse(query), SUBSCRIPTION_RULES)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "subscription { onPost { nope } }",
            "Validation error of type FieldUndefined: Field 'nope' in type 'Post' is undefined @ 'onPost/nope'",
        ),
        (
            "subscription { x: onPost { ... { author { nope } } } }",
            "Validation error of type FieldUndefined: "
            "Field 'nope' in type 'Author' is undefined @ 'onPost/author/nope'",
        ),
        (
            "subscription { onNope { id } }",
            "Validation error of type FieldUndefined: Field 'onNope' in type 'Subscription' is undefined @ 'onNope'",
        ),
        (
            "subscription { other(filter: {}) { id } }",
            "Validation error of type UnknownArgument: Unknown field argument filter @ 'other'",
        ),
        (
            "subscription { onPost { author(last: 1) { name } } }",
            "Validation error of type UnknownArgument: Unknown field argument last @ 'onPost/author'",
        ),
        (
            "subscription { onPost { id @skip(if: true, x: 1) } }",
            "Unknown argument 'x' on directive '@skip'.",
        ),
        ("subscription { onPost { author } }", "Field 'author' of type 'Author' must have a selection of subfields."),
    ],
)
def test_validation(query: str, message: str) -> None:
    [found] = messages(query)
    assert found.startswith(message)


def test_places_are_kept() -> None:
    [error] = validate(SCHEMA, parse("subscription {\n onPost { nope } }"), SUBSCRIPTION_RULES)
    assert error.formatted["locations"] == [{"line": 2, "column": 11}]


def test_a_second_root_field_is_left_to_the_planner() -> None:
    assert messages("subscription { onPost { id } other { id } }") == []


def reworded(definitions: str, variables: dict[str, Any]) -> list[str]:
    [operation] = parse(f"subscription ({definitions}) {{ onPost {{ id }} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    errors = get_variable_values(SCHEMA, operation.variable_definitions or (), variables)
    assert isinstance(errors, list), "the variables are valid"
    return [error.message for error in reword_variable_errors(SCHEMA, operation, variables, errors)]


@pytest.mark.parametrize("variables", [{}, {"id": None}])
def test_null_for_a_variable_that_cannot_be_null(variables: dict[str, Any]) -> None:
    assert reworded("$id: ID!", variables) == ["Variable 'id' has coerced Null value for NonNull type 'ID!'"]


@pytest.mark.parametrize("inner", [{}, {"n": None}])
def test_null_inside_an_input_object(inner: dict[str, Any]) -> None:
    errors = reworded("$f: Filter", {"f": {"inner": inner}})
    assert errors[0].startswith(
        "Variable 'n' has coerced Null value for NonNull type 'Int!'" if inner else "Variable '$f' has invalid value"
    )


def test_fields_that_an_input_object_does_not_have() -> None:
    # DataStore looks for "The variables input contains a field name 'not'".
    assert reworded("$f: Filter", {"f": {"not": {}}}) == [
        "The variables input contains a field name 'not' that is not defined for input object type 'Filter' "
    ]
    deep = {"f": {"inner": {"n": 1, "deep": [{"n": 1, "x": 2}]}}}
    assert reworded("$f: Filter", deep) == [
        "The variables input contains a field name 'x' that is not defined for input object type 'Inner' "
    ]


def test_other_mistakes_keep_their_text() -> None:
    [message] = reworded("$f: Filter", {"f": {"name": 5}})
    assert message == "Variable '$f' has invalid value at .name: String cannot represent a non string value: 5"


def test_a_default_value_needs_no_variable() -> None:
    [operation] = parse("subscription ($id: ID! = 5, $n: Int) { onPost { id } }").definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert reword_variable_errors(SCHEMA, operation, {}, [GraphQLError("x")])[0].message == "x"
