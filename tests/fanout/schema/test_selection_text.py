"""`ctx.info.selectionSetList` and `selectionSetGraphQL`, as AppSync's guide shows them."""

from __future__ import annotations

from typing import Any

from fanout.execution.executor import Executor
from fanout.schema.resolving import SelectionText
from fanout.schema.sdl import parse_schema
from tests.fanout.schema.resolvers import by_place

SCHEMA = parse_schema(
    """
    type Query { getPost(id: ID!): Post count: Int node: Node }
    interface Node { id: ID }
    type Post implements Node {
      id: ID postId: ID title: String content: String author(id: ID): Author comments: [Comment]
    }
    type Author implements Node { id: ID authorId: ID name: String }
    type Comment { id: ID text: String }
    """
)


async def describe(query: str, variables: dict[str, Any] | None = None, place: str = "Query__getPost") -> SelectionText:
    resolvers = by_place(**{place: lambda _: None})
    result = Executor(SCHEMA, resolvers=resolvers).execute(query, variables)
    await result
    (resolver,) = resolvers.values()
    return resolver.calls[0].describe_selection()


async def test_the_guide_s_example() -> None:
    """Developer guide, "context object reference", `Info`: fields, aliases, inline and named fragments."""
    text = await describe(
        """
        query getPost($postId: ID!, $authorId: ID!) {
          getPost(id: $postId) {
            postId
            title
            secondTitle: title
            content
            author(id: $authorId) { authorId name }
            secondAuthor: author(id: "789") { authorId }
            ... on Post { inlineFragComments: comments { id } }
            ...postFrag
          }
        }
        fragment postFrag on Post { postFragComments: comments { id } }
        """,
        {"postId": "123", "authorId": "456"},
    )
    assert text.names == (
        "postId",
        "title",
        "secondTitle",
        "content",
        "author",
        "author/authorId",
        "author/name",
        "secondAuthor",
        "secondAuthor/authorId",
        "inlineFragComments",
        "inlineFragComments/id",
        "postFragComments",
        "postFragComments/id",
    )
    assert text.text == (
        "{\n  postId\n  title\n  secondTitle: title\n  content\n"
        "  author(id: $authorId) {\n    authorId\n    name\n  }\n"
        '  secondAuthor: author(id: "789") {\n    authorId\n  }\n'
        "  ... on Post {\n    inlineFragComments: comments {\n      id\n    }\n  }\n  ...postFrag\n}"
    )


async def test_what_is_left_out_is_not_listed() -> None:
    query = """
        query ($no: Boolean!) {
          getPost(id: 1) { id title @include(if: $no) ...F @skip(if: true) ... @skip(if: $no) { content } }
        }
        fragment F on Post { postId }
    """
    text = await describe(query, {"no": False})
    assert text.names == ("id", "content")
    assert "title @include(if: $no)" in text.text


async def test_nodes_of_one_field_are_one_selection() -> None:
    text = await describe("{ getPost(id: 1) { id author { name } } getPost(id: 1) { title author { id } } }")
    assert text.names == ("id", "author", "author/name", "title", "author/id")


async def test_fields_of_all_types_of_an_interface_are_listed() -> None:
    query = "{ node { id ... on Post { title } ... on Author { name __typename } } }"
    assert (await describe(query, place="Query__node")).names == ("id", "title", "name", "__typename")


async def test_a_scalar_has_no_selection() -> None:
    assert await describe("{ count }", place="Query__count") == SelectionText((), "")
