"""Documents over HTTP: responses as graphql-core's, results from the input, events with the selected fields."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

import orjson
import pytest
from graphql import get_introspection_query, graphql_sync
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import ConfigurationError
from fanout.execution.executor import ExecutionResult, Executor
from fanout.model import Identity, NewEvent, SubscribeRequest
from fanout.planning.planner import SubscriptionPlanner
from fanout.schema.sdl import load_chat_schema, parse_schema
from fanout.settings import MutationSettings, Settings, load_settings

NOW = "2026-11-20T10:00:00.123Z"
SCHEMA = parse_schema(
    """
    type Query { version: String strict: String! }
    interface Shape { id: ID! area: Float }
    type Circle implements Shape { id: ID! area: Float radius: Float! createdAt: AWSDateTime }
    type Square implements Shape { id: ID! area: Float side: Float! inner: Shape }
    union Thing = Circle | Square
    type Post {
      id: ID! title: String author: Author updatedAt: AWSDateTime! createdAt: String
      tags: [String!] shape: Shape meta: AWSJSON
    }
    type Author { id: ID name: String createdAt: AWSDateTime }
    type Bare { id: ID title: String }
    input AuthorInput { name: String }
    input ShapeInput { area: Float radius: Float side: Float inner: ShapeInput }
    input PostInput {
      id: ID title: String author: AuthorInput tags: [String!] shape: ShapeInput createdAt: String meta: AWSJSON
    }
    input Condition { title: String }
    type Mutation {
      createPost(input: PostInput!, condition: Condition): Post
      addPost(title: String, source: String, info: Int): Post!
      oneObject(post: PostInput): Post
      oneScalar(title: String): Bare
      shout(text: String!): String
      many(posts: [PostInput!]): [Post!]
      addThing(input: ShapeInput): Thing
      addShape(input: ShapeInput): Shape!
      failing(title: Int): Author
      none: Bare
    }
    type Subscription { onPost: Post @aws_subscribe(mutations: ["createPost", "addPost"]) }
    """
)


def executor(**limits: int) -> Executor:
    numbers = count(1)
    settings = load_settings(limits, {})
    return Executor(SCHEMA, settings, now=lambda: NOW, new_id=lambda: f"id-{next(numbers)}")


def run(query: str, variables: dict[str, Any] | None = None, operation_name: str | None = None) -> ExecutionResult:
    return executor().execute(query, variables, operation_name)


def events(result: ExecutionResult) -> list[tuple[str, Any]]:
    return [(event.mutation, orjson.loads(event.data)) for event in result.events]


@pytest.mark.parametrize(
    ("mutation", "result"),
    [
        (
            'createPost(input: {title: "t"}) { id title updatedAt }',
            {"id": "id-1", "title": "t", "updatedAt": NOW},
        ),
        (
            'createPost(condition: {title: "no"}, input: {id: "mine", title: "t"}) { id title createdAt }',
            {"id": "mine", "title": "t", "createdAt": None},
        ),
        ('addPost(title: "t", source: "s", info: 1) { id title }', {"id": "id-1", "title": "t"}),
        ("addPost { id title }", {"id": "id-1", "title": None}),
        (
            'oneObject(post: {title: "t", author: {name: "n"}}) { author { id name } }',
            {"author": {"id": None, "name": "n"}},
        ),
        ('oneScalar(title: "t") { id title }', {"id": None, "title": "t"}),
        ('shout(text: "hi")', "hi"),
        (
            'many(posts: [{title: "a"}, {title: "b"}]) { id title updatedAt }',
            [
                {"id": "id-1", "title": "a", "updatedAt": NOW},
                {"id": "id-2", "title": "b", "updatedAt": NOW},
            ],
        ),
        ('createPost(input: {meta: "[1, 2]"}) { meta tags }', {"meta": "[1, 2]", "tags": None}),
        ("none { id title }", {"id": None, "title": None}),
    ],
)
def test_the_result_of_a_mutation_is_its_input(mutation: str, result: Any) -> None:
    name = re.match(r"\w+", mutation)
    assert name
    done = run(f"mutation {{ {mutation} }}")
    assert done.response == {"data": {name[0]: result}}
    assert events(done) == [(name[0], result)]


def test_generated_values_have_their_form() -> None:
    done = Executor(SCHEMA).execute('mutation { createPost(input: {title: "t"}) { id updatedAt } }')
    post = done.response["data"]["createPost"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", post["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", post["updatedAt"])


def test_events_have_the_selected_fields_by_name() -> None:
    done = run(
        """
        mutation {
          a: createPost(input: {title: "t", tags: ["x"], author: {name: "n"}}) {
            x: title y: title by: author { n: name } author { createdAt } __typename
          }
        }
        """
    )
    assert done.response == {
        "data": {
            "a": {"x": "t", "y": "t", "by": {"n": "n"}, "author": {"createdAt": None}, "__typename": "Post"},
        }
    }
    assert events(done) == [
        ("createPost", {"title": "t", "author": {"name": "n", "createdAt": None}, "__typename": "Post"})
    ]


def test_each_mutation_field_makes_an_event_in_order() -> None:
    done = run('mutation { a: shout(text: "1") b: shout(text: "2") createPost(input: {}) { id } }')
    assert events(done) == [("shout", "1"), ("shout", "2"), ("createPost", {"id": "id-1"})]
    assert done.events[0] == NewEvent("shout", b'"1"')


def test_conditions_hold_for_events_too() -> None:
    query = """
        mutation ($no: Boolean!) {
          createPost(input: {}) { id title @include(if: $no) }
          shout(text: "x") @skip(if: true)
        }
    """
    assert events(run(query, {"no": False})) == [("createPost", {"id": "id-1"})]


def test_the_type_is_found_and_published_where_it_can_be_one_of_several() -> None:
    done = run("mutation { addThing(input: {radius: 2}) { ... on Circle { id radius createdAt } } }")
    assert done.response == {"data": {"addThing": {"id": "id-1", "radius": 2.0, "createdAt": NOW}}}
    expected = {"id": "id-1", "radius": 2.0, "createdAt": NOW, "__typename": "Circle"}
    assert events(done) == [("addThing", expected)]
    nested = run("mutation { addShape(input: {side: 1, inner: {radius: 1}}) { area ... on Square { inner { id } } } }")
    [error] = nested.response["errors"]
    assert "Circle.id" in error["message"]  # a nested id is not generated
    whole = run("mutation { createPost(input: {shape: {radius: 1}}) { shape { area } } }")
    assert events(whole) == [("createPost", {"shape": {"area": None, "__typename": "Circle"}})]


def test_a_type_that_cannot_be_told_is_graphql_cores_error() -> None:
    done = run("mutation { addThing(input: {area: 1}) { __typename } }")
    assert done.response["data"] == {"addThing": None}
    assert done.response["errors"][0]["message"].startswith("Abstract type 'Thing' must resolve to an Object type")
    assert done.events == ()


@pytest.mark.parametrize(
    ("query", "data", "published"),
    [
        ("mutation { failing(title: 1) { name } }", {"failing": {"name": None}}, [("failing", {"name": None})]),
        (
            "mutation { createPost(input: {id: null}) { id } }",
            {"createPost": {"id": "id-1"}},
            [("createPost", {"id": "id-1"})],
        ),
        ("mutation { oneObject(post: null) { id } }", {"oneObject": None}, []),
        ("mutation { oneObject { id } }", {"oneObject": None}, []),
        ("mutation { many { id } }", {"many": None}, []),
    ],
)
def test_what_makes_an_event(query: str, data: Any, published: Any) -> None:
    done = run(query)
    assert done.response == {"data": data}
    assert events(done) == published


def test_a_field_that_fails_is_null_in_response_and_event() -> None:
    schema = parse_schema(
        """
        type Query { a: Int }
        type Result { a: Int! b: Int }
        type Mutation { set(b: Int, c: Int): Result put(b: Int, c: Int): Result }
        """
    )
    done = Executor(schema).execute("mutation { set(b: 1) { a b } put(b: 2) { b } }")
    assert done.response["data"] == {"set": None, "put": {"b": 2}}
    assert done.response["errors"] == [
        {
            "message": "Cannot return null for non-nullable field Result.a.",
            "locations": [{"line": 1, "column": 24}],
            "path": ["set", "a"],
        }
    ]
    assert events(done) == [("put", {"b": 2})]


def test_a_null_that_takes_all_data_leaves_earlier_events() -> None:
    done = run('mutation { shout(text: "x") addShape(input: {area: 1}) { area } after: shout(text: "y") }')
    assert done.response["data"] is None
    assert events(done) == [("shout", "x")]


class Closed:
    """An access to everything but some places."""

    def __init__(self, *places: str) -> None:
        self._places = places

    def may_use(self, type_name: str, field_name: str) -> bool:
        return f"{type_name}.{field_name}" not in self._places


def deny(field: str, type_name: str, path: list[str | int], query: str, node: str = "") -> dict[str, Any]:
    """AppSync's entry, as captured (amplify-category-api, issue 2422); `node` is how the field stands in the query."""
    column = query.rindex(node or f"{field} ") + 1
    return {
        "path": path,
        "data": None,
        "errorType": "Unauthorized",
        "errorInfo": None,
        "locations": [{"line": 1, "column": column, "sourceName": None}],
        "message": f"Not Authorized to access {field} on type {type_name}",
    }


def run_closed(query: str, *places: str) -> ExecutionResult:
    return executor().execute(query, None, None, Closed(*places))


def test_a_closed_field_is_null_in_response_and_event() -> None:
    query = 'mutation { createPost(input: {title: "t", author: {name: "n"}}) { id heading: title author { name } } }'
    done = run_closed(query, "Post.title", "Author.name")
    assert done.response == {
        "data": {"createPost": {"id": "id-1", "heading": None, "author": {"name": None}}},
        "errors": [
            deny("title", "Post", ["createPost", "heading"], query, "heading"),
            deny("name", "Author", ["createPost", "author", "name"], query),
        ],
    }
    assert events(done) == [("createPost", {"id": "id-1", "title": None, "author": {"name": None}})]
    assert b'"t"' not in done.events[0].data
    assert b'"n"' not in done.events[0].data


def test_a_closed_mutation_is_not_executed_and_publishes_nothing() -> None:
    one = executor()
    query = 'mutation { createPost(input: {title: "t"}) { id } shout(text: "x") }'
    done = one.execute(query, None, None, Closed("Mutation.createPost"))
    assert done.response == {
        "data": {"createPost": None, "shout": "x"},
        "errors": [deny("createPost", "Mutation", ["createPost"], query, "createPost")],
    }
    assert events(done) == [("shout", "x")]
    assert one._defaults._new_id() == "id-1"  # none was taken


def test_a_closed_field_that_cannot_be_null_takes_what_is_around_it_away() -> None:
    query = 'mutation { createPost(input: {title: "t"}) { id title } }'
    done = run_closed(query, "Post.id")
    assert done.response == {"data": {"createPost": None}, "errors": [deny("id", "Post", ["createPost", "id"], query)]}
    assert events(done) == []
    query = "mutation { addPost { id } }"
    done = run_closed(query, "Mutation.addPost")
    assert done.response == {"data": None, "errors": [deny("addPost", "Mutation", ["addPost"], query)]}
    assert events(done) == []
    done = run_closed('mutation { many(posts: [{title: "a"}]) { title ...F } } fragment F on Post { id }', "Post.title")
    assert done.response["data"] == {"many": [{"title": None, "id": "id-1"}]}
    assert events(done) == [("many", [{"title": None, "id": "id-1"}])]


def test_of_an_interface_the_object_type_s_field_counts() -> None:
    query = "mutation { addShape(input: {radius: 2, area: 3}) { __typename id area } }"
    assert "errors" not in run_closed(query, "Shape.area", "Square.area").response
    done = run_closed(query, "Circle.area")
    assert done.response["errors"] == [deny("area", "Circle", ["addShape", "area"], query)]
    assert events(done) == [("addShape", {"__typename": "Circle", "id": "id-1", "area": None})]
    nested = (
        "mutation { addShape(input: {side: 1, inner: {radius: 1, area: 2}}) { id ... on Square { inner { area } } } }"
    )
    assert events(run_closed(nested, "Circle.area")) == [
        ("addShape", {"id": "id-1", "inner": {"area": None, "__typename": "Circle"}, "__typename": "Square"})
    ]


def test_a_closed_query_is_told_and_introspection_is_open() -> None:
    done = run_closed("{ version __typename }", "Query.version")
    assert done.response["data"] == {"version": None, "__typename": "Query"}
    assert done.response["errors"] == [deny("version", "Query", ["version"], "{ version __typename }")]
    query = get_introspection_query()
    assert run_closed(query, "Query.version").response == graphql_sync(SCHEMA.graphql, query).formatted


def test_other_errors_stay_as_they_are() -> None:
    query = "mutation { addThing(input: {area: 1}) { __typename } none { id } }"
    done = run_closed(query, "Mutation.none")
    other, denied = done.response["errors"]
    assert other == run(query).response["errors"][0]
    assert denied["errorType"] == "Unauthorized"


def test_queries_without_a_resolver_are_null() -> None:
    assert run("{ version }") == ExecutionResult({"data": {"version": None}}, ())
    done = run("{ strict }")
    assert done.response["data"] is None
    assert done.response["errors"][0]["message"] == "Cannot return null for non-nullable field Query.strict."


def test_introspection() -> None:
    query = get_introspection_query()
    assert run(query).response == graphql_sync(SCHEMA.graphql, query).formatted


MUTATION = "mutation M($p: PostInput!) { createPost(input: $p) { id } }"


@pytest.mark.parametrize(
    ("query", "variables", "operation_name"),
    [
        ("{ version", None, None),
        ("{ nope }", None, None),
        ("{ version } { strict }", None, None),
        ("query A { version } query B { version }", None, None),
        ("query A { version } query B { version }", None, "C"),
        (MUTATION, None, None),
        (MUTATION, {"p": None}, None),
        (MUTATION, {"p": {"nope": 1, "title": 5}}, "M"),
        (MUTATION, {"p": {"meta": "{"}}, None),
        ("mutation { createPost(input: {title: 5}) { id } }", None, None),
        ("mutation { nope }", None, None),
    ],
)
def test_mistakes_are_told_exactly_as_graphql_core_does(
    query: str, variables: dict[str, Any] | None, operation_name: str | None
) -> None:
    expected = graphql_sync(SCHEMA.graphql, query, variable_values=variables, operation_name=operation_name)
    assert expected.errors
    assert run(query, variables, operation_name) == ExecutionResult(dict(expected.formatted), ())


def test_subscriptions_are_sent_to_the_websocket() -> None:
    done = run("subscription { onPost { id } }")
    assert done.response["data"] is None
    assert "WebSocket" in done.response["errors"][0]["message"]


def test_limits() -> None:
    small = executor(max_document_depth=1, max_document_tokens=20)
    assert "levels deep" in small.execute("mutation { createPost(input: {}) { id } }").response["errors"][0]["message"]
    assert "more than 20 tokens" in small.execute("{ version " * 11).response["errors"][0]["message"]


def test_values_that_json_cannot_carry() -> None:
    schema = parse_schema("scalar Own type Query { a: Int } type Mutation { own(value: Own): Own }")
    done = Executor(schema).execute(f"mutation {{ own(value: {2**70}) }}")
    assert done.response["data"] is None
    assert done.response["errors"][0]["message"] == "The mutation's result cannot be written as JSON."


def test_documents_are_kept() -> None:
    one = executor()
    for _ in range(3):
        assert one.execute("{ version }").response == {"data": {"version": None}}
    assert len(one._documents) == 1
    one.execute("{ nope }")
    assert len(one._documents) == 1


def test_what_is_published_serves_a_subscriber_with_the_same_selection() -> None:
    chat = load_chat_schema()
    fields = "id roomId content kind tags attachments { url } context { metadata } createdAt"
    done = Executor(chat).execute(
        """
        mutation M($input: CreateMessageInput!) {
          createMessage(input: $input) { %s }
        }
        """
        % fields,
        {
            "input": {
                "roomId": "r",
                "content": "hi",
                "kind": "TEXT",
                "tags": ["a"],
                "attachments": [{"url": "https://example.com/a"}],
                "context": {"metadata": '{"a": 1}'},
            }
        },
    )
    [event] = done.events
    query = f"subscription {{ onCreateMessage {{ {fields} }} }}"
    plan = SubscriptionPlanner(chat, load_settings({}, {})).plan(
        SubscribeRequest(query, None, {}, {}), Identity("API_KEY")
    )
    payload = orjson.loads(plan.projection.project(orjson.loads(event.data)))
    assert payload == {"data": {"onCreateMessage": done.response["data"]["createMessage"]}}


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3)))
def test_any_request_has_a_response(text: str, variables: dict[str, Any]) -> None:
    for query in (
        text,
        f"mutation {{ shout(text: {text}) }}",
        f"mutation {{ createPost(input: {{title: {text}}}) {{ id }} }}",
    ):
        done = run(query, variables)
        assert "data" in done.response


def test_settings_of_a_mutation_that_is_not_there_are_a_mistake() -> None:
    settings = Settings(mutations={"createPots": MutationSettings()})
    with pytest.raises(
        ConfigurationError, match=r"mutations\.createPots: no such mutation field; the schema has addPost"
    ):
        Executor(SCHEMA, settings)


def test_introspection_can_be_turned_off_with_what_errors_suggest() -> None:
    silent = Executor(SCHEMA, load_settings({"introspection": False}, {}))
    refused = silent.execute(get_introspection_query()).response
    assert refused["data"] is None
    assert "introspection has been disabled" in refused["errors"][0]["message"]
    asked = "mutation ($p: PostInput!) { createPost(input: $p) { __typename } }", {"p": {"titel": "x"}}
    assert "Did you mean" in str(Executor(SCHEMA).execute(*asked).response)
    assert "Did you mean" not in str(silent.execute(*asked).response)
    assert silent.execute("{ version __typename }").response == {"data": {"version": None, "__typename": "Query"}}


def test_what_an_event_holds_is_decided_by_all_that_was_asked() -> None:
    query = """
      mutation One($time: Boolean!) {
        createPost(input: {title: "t", createdAt: "b"}) { title createdAt @include(if: $time) }
      }
      mutation Two($time: Boolean!) {
        a: createPost(input: {title: "t", createdAt: "c"}) { title @skip(if: $time) createdAt }
      }
    """
    executor = Executor(SCHEMA)

    def ask(name: str, access: Any = None, *, time: bool) -> Any:
        done = executor.execute(query, {"time": time}, name, access)
        assert isinstance(done, ExecutionResult)
        return [orjson.loads(event.data) for event in done.events]

    class Titles:
        def may_use(self, type_name: str, field_name: str) -> bool:
            return (type_name, field_name) != ("Post", "createdAt")

    for _ in "12":
        assert ask("One", time=True) == [{"title": "t", "createdAt": "b"}]
        assert ask("One", time=False) == [{"title": "t"}]
        assert ask("One", Titles(), time=True) == [{"title": "t", "createdAt": None}]
        assert ask("Two", time=False) == [{"title": "t", "createdAt": "c"}]
        assert ask("Two", time=True) == [{"createdAt": "c"}]
