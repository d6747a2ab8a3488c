"""Schemas: what AppSync accepts is accepted, and mistakes are named with line and column."""

from __future__ import annotations

import pytest
from graphql import GraphQLScalarType, validate_schema
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import SchemaError
from fanout.schema.directives import AuthDirective
from fanout.schema.sdl import CHAT_SDL_PATH, load_chat_schema, parse_schema

BASE = """
type Query { a: Int }
type Post { id: ID! title: String }
type Mutation { addPost: Post! editPost: Post addPosts: [Post!]! count: Int }
"""


def subscription(fields: str, base: str = BASE) -> str:
    return f"{base}type Subscription {{\n{fields}\n}}\n"


def test_mutations_are_linked_to_subscriptions_in_the_order_of_the_text() -> None:
    schema = parse_schema(
        subscription(
            """
            onAny: Post @aws_subscribe(mutations: ["editPost", "addPost", "addPost"])
            onAdd: Post @aws_subscribe(mutations: ["addPost"])
            onAdds: [Post] @aws_subscribe(mutations: ["addPosts"])
            never: Int
            """
        )
    )
    assert schema.mutations == {"addPost", "editPost", "addPosts", "count"}
    assert schema.subscriptions_of("addPost") == ("onAny", "onAdd")
    assert schema.subscriptions_of("editPost") == ("onAny",)
    assert schema.subscriptions_of("addPosts") == ("onAdds",)
    assert schema.subscriptions_of("count") == schema.subscriptions_of("nope") == ()
    assert schema.sdl.startswith(BASE)


def test_root_types_may_have_other_names() -> None:
    schema = parse_schema(
        "schema { query: Q mutation: M subscription: S } type Q { a: Int } type M { m: Int }"
        'type S { s: Int @aws_subscribe(mutations: ["m"]) }'
    )
    assert (schema.mutations, schema.subscriptions_of("m")) == ({"m"}, ("s",))


def test_fields_of_extensions_count() -> None:
    schema = parse_schema(
        subscription("a: Int") + 'extend type Subscription { b: Int @aws_subscribe(mutations: ["count"]) }'
    )
    assert schema.subscriptions_of("count") == ("b",)


@pytest.mark.parametrize(
    ("sdl", "line", "column", "text"),
    [
        ("type Query {", 1, 13, "Syntax Error: Expected Name, found <EOF>."),
        ("", 1, 1, "Syntax Error"),
        ("type Query { a: Int }\ntype A { b: Nope }", 2, 13, "Unknown type 'Nope'."),
        ("type Query { a: Int @nope }", 1, 21, "Unknown directive '@nope'."),
        ("type Query { a: Int }\n{ a }", 2, 1, "This is not part of a schema"),
        ("type Query { a: Int }\ntype Query { b: Int }", 2, 6, "There can be only one type named 'Query'."),
        ("type Query { a: Int }\ntype AWSJSON { b: Int }", 2, 6, "There can be only one type named 'AWSJSON'."),
        ("type Query { a: Int }\ntype A implements Query { a: Int }", 2, 19, "Type A must only implement Interface"),
        ("type Mutation { a: Int }", 0, 0, "Query root type must be provided. Add for example: type Query"),
        ("type Query", 1, 1, "Type Query must define one or more fields."),
        (subscription('s: Post @aws_subscribe(mutations: ["addPost", "nope"])'), 6, 47, "the mutation 'nope', which"),
        (subscription('s: Post @aws_subscribe(mutations: ["addPosts"])'), 6, 1, "returns Post, the mutation addPosts"),
        (
            subscription('s: Int @aws_subscribe(mutations: ["addPost"])'),
            6,
            1,
            "The subscription has an invalid output type. Subscription.s returns Int, the mutation addPost returns",
        ),
        (subscription("s: Post @aws_subscribe(mutations: [])"), 6, 1, "names no mutation"),
        (subscription("s: Post @aws_subscribe(mutations: [1])"), 6, 35, "has to be a list of strings"),
        (subscription("s: Post @aws_subscribe"), 6, 9, "of type '[String!]!' is required, but it was not"),
        ('type Query {\n a: Int @aws_subscribe(mutations: ["x"]) }', 2, 2, "belongs on fields of the subscription"),
        (subscription('s: Int @aws_subscribe(mutations: ["x"])', "type Query { a: Int }"), 2, 35, "does not exist"),
        ("type Query { a: Int @aws_auth(cognito_groups: 5) }", 1, 47, "has to be a list of strings"),
        ("type Query { __a: Int }", 1, 14, "must not begin with"),
    ],
)
def test_mistakes_are_named_with_their_place(sdl: str, line: int, column: int, text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parse_schema(sdl, "api.graphql")
    error = caught.value
    assert text in error.message
    assert (error.line, error.column, error.source) == (line, column, "api.graphql")
    assert "\n" not in str(error)
    assert str(error).startswith(f"api.graphql:{line}:{column}: " if line else "api.graphql: ")


def test_further_mistakes_are_counted() -> None:
    with pytest.raises(SchemaError, match=r"Unknown type 'X'\. \(1 more errors follow\)"):
        parse_schema("type Query { a: X b: Y }")


def test_definitions_that_repeat_ours_are_tolerated_as_in_exported_schemas() -> None:
    schema = parse_schema(
        subscription('s: Post @aws_subscribe(mutations: ["addPost"])')
        + """
        scalar AWSDateTime
        scalar Own
        extend type Post { at: AWSDateTime own: Own }
        directive @aws_subscribe(mutations: [String]) on FIELD_DEFINITION
        directive @aws_publish(subscriptions: [String]) on FIELD_DEFINITION
        directive @defer on FIELD
        directive @deprecated(reason: String = "No longer supported") on FIELD_DEFINITION | ENUM_VALUE
        """
    )
    assert schema.subscriptions_of("addPost") == ("s",)
    scalar = schema.graphql.get_type("AWSDateTime")
    assert isinstance(scalar, GraphQLScalarType)
    with pytest.raises(Exception, match="AWSDateTime cannot represent"):
        scalar.coerce_output_value("yesterday")


def test_authorization_directives_are_kept_with_their_place() -> None:
    schema = parse_schema(
        """
        type Query @aws_api_key { a: Int b: Int @aws_iam @aws_lambda }
        extend type Query @aws_oidc { c: Int @aws_cognito_user_pools(cognito_groups: ["admins"]) }
        type Other { d: Int }
        """
    )
    of_type = (AuthDirective("aws_api_key"), AuthDirective("aws_oidc"))
    assert schema.authorization == {
        ("Query", None): of_type,
        ("Query", "b"): (AuthDirective("aws_iam"), AuthDirective("aws_lambda")),
        ("Query", "c"): (AuthDirective("aws_cognito_user_pools", ("admins",)),),
    }
    assert [each.line for each in schema.authorization["Query", None]] == [2, 3]
    assert schema.root_types == {"Query"}


def test_the_chat_schema_is_valid_and_shows_every_kind_of_argument() -> None:
    schema = load_chat_schema()
    assert CHAT_SDL_PATH.is_file()
    assert not validate_schema(schema.graphql)
    assert schema.subscriptions_of("createMessage") == ("onCreateMessage", "onMessageEvent")
    assert schema.mutations == {"createMessage", "updateMessage", "deleteMessage", "createRoom"}


@given(st.text(alphabet="type Query{a:Int!}[]@(\"')&|#\n", max_size=60) | st.text(max_size=30))
def test_any_text_is_a_schema_or_a_schema_error(text: str) -> None:
    try:
        parse_schema(text)
    except SchemaError:
        pass


def test_deep_nesting_is_a_schema_error() -> None:
    with pytest.raises(SchemaError):
        parse_schema("type Query { a: " + "[" * 50_000 + "Int" + "]" * 50_000 + " }")
