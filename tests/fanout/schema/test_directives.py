"""What is read from AppSync's directives, and which definitions of a schema repeat ours."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLError, parse

from fanout.schema.directives import PRELUDE, AuthDirective, is_built_in, read_authorization, read_mutations


def field(directives: str) -> Any:
    return parse(f"type T {{ f: Int {directives} }}").definitions[0].fields[0]  # type: ignore[attr-defined]


def test_mutations_are_read_with_their_place() -> None:
    nodes = read_mutations(field('@aws_iam @aws_subscribe(mutations: ["a", "b"])'))
    assert nodes is not None
    assert [(node.value, node.loc.start if node.loc else None) for node in nodes] == [("a", 52), ("b", 57)]
    assert read_mutations(field("@aws_iam")) is None


def test_a_single_value_counts_as_a_list_of_one() -> None:
    assert [node.value for node in read_mutations(field('@aws_subscribe(mutations: "a")')) or ()] == ["a"]


@pytest.mark.parametrize("text", ["@aws_subscribe(mutations: [1])", "@aws_subscribe(mutations: {a: 1})"])
def test_names_that_are_not_strings_are_refused(text: str) -> None:
    with pytest.raises(GraphQLError, match=r"@aws_subscribe\(mutations:\) has to be a list of strings"):
        read_mutations(field(text))


def test_authorization_directives_are_kept_in_order_with_their_groups() -> None:
    node = field('@aws_api_key @deprecated @aws_cognito_user_pools(cognito_groups: ["a", "b"])')
    assert read_authorization([None, node]) == (
        AuthDirective("aws_api_key"),
        AuthDirective("aws_cognito_user_pools", ("a", "b")),
    )


def test_the_prelude_has_no_places_of_its_own() -> None:
    assert all(definition.loc is None for definition in PRELUDE)


def test_what_repeats_a_built_in_definition() -> None:
    text = (
        "scalar AWSDate scalar Own type AWSJSON { a: Int } directive @aws_iam on OBJECT directive @own on OBJECT "
        "directive @defer on FIELD directive @deprecated(reason: String) on FIELD_DEFINITION"
    )
    found = [is_built_in(definition) for definition in parse(text).definitions]
    assert found == [True, False, False, True, False, True, True]
