"""Projection is graphql-core's execution, faster. The oracle is graphql-core itself, on random documents and data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    execute_sync,
    get_named_type,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
    parse,
)
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from fanout.model import Identity, SubscribeRequest
from fanout.planning.planner import SubscriptionPlanner
from fanout.schema.projection import Projection
from fanout.schema.sdl import parse_schema
from fanout.settings import load_settings

# No name is an attribute of a Python str, int, float, bool or list: there graphql-core's resolver would find it.
SCHEMA = parse_schema(
    """
    type Query { x: Int }
    enum Hue { RED GREEN BLUE }
    scalar Own
    interface Node { nid: ID! label: String }
    type Leaf implements Node {
      nid: ID! label: String whole: Int fraction: Float! flag: Boolean hue: Hue hues: [Hue!]! own: Own
      day: AWSDate moment: AWSDateTime! stamp: AWSTimestamp blob: AWSJSON
    }
    type Tree implements Node {
      nid: ID! label: String leaf: Leaf strictLeaf: Leaf! left: Tree right: Tree!
      leaves: [Leaf] strictLeaves: [Leaf!] allStrict: [Leaf!]! forest: [[Tree!]] grid: [[Int!]!]! names: [String]
      node: Node nodes: [Node!] either: Either! eithers: [Either]
    }
    type Lone { label: String tree: Tree }
    union Either = Leaf | Tree | Lone
    type Subscription {
      onTree: Tree onStrict: Tree! onTrees: [Tree!] onEither: Either onNode: Node! onWhole: Int onHue: Hue!
      onGrid: [[Int!]] onLeaf: Leaf
    }
    """
)
PLANNER = SubscriptionPlanner(SCHEMA, load_settings({}, {}))
ANYBODY = Identity("API_KEY")
MAX_DEPTH = 4


def plan(query: str, variables: dict[str, Any] | None = None, planner: SubscriptionPlanner = PLANNER) -> Projection:
    return planner.plan(SubscribeRequest(query, None, variables or {}, {}), ANYBODY).projection


@dataclass
class Writer:
    """Writes a random valid document."""

    draw: st.DrawFn
    fragments: dict[str, tuple[str, str]] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)

    def write(self) -> tuple[str, str]:
        """The document, and the name of its root field."""
        root_type = SCHEMA.graphql.subscription_type
        assert root_type
        name = self.draw(st.sampled_from(sorted(root_type.fields)))
        body = self.field(name, root_type.fields[name], 0)
        declared = " ".join(f"${variable}: Boolean!" for variable in sorted(self.variables))
        texts = [f"subscription {f'({declared}) ' if declared else ''}{{ {body} }}"]
        texts += [f"fragment {fragment} on {type_} {text}" for fragment, (type_, text) in self.fragments.items()]
        return "\n".join(texts), name

    def field(self, name: str, definition: GraphQLField, depth: int) -> str:
        # An alias belongs to one name, so that all fields of a response key can be merged.
        alias = self.draw(st.sampled_from(["", "", f"{name}A: ", f"{name}B: "]))
        type_ = get_named_type(definition.type)
        nested = self.selection(type_, depth + 1) if self.is_composite(type_) else ""
        condition = self.condition() if depth else ""
        return f"{alias}{name}{condition} {nested}"

    def is_composite(self, type_: GraphQLNamedType) -> bool:
        return isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType)

    def selection(self, type_: GraphQLNamedType, depth: int) -> str:
        parts = [self.part(type_, depth) for _ in range(self.draw(st.integers(1, 4)))]
        return "{ " + " ".join(parts) + " }"

    def part(self, type_: GraphQLNamedType, depth: int) -> str:
        assert isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLUnionType)
        kind = self.draw(st.integers(0, 7))
        if kind == 0:
            return "__typename"
        if kind == 1 or (isinstance(type_, GraphQLUnionType) and kind < 6):
            target = self.target(type_)
            if depth < MAX_DEPTH:
                return f"... on {target}{self.condition()} {self.selection(target, depth + 1)}"
            return "__typename"
        if kind == 2 and depth < MAX_DEPTH:
            return self.spread(type_, depth)
        fields = {} if isinstance(type_, GraphQLUnionType) else type_.fields
        names = [
            name
            for name, definition in fields.items()
            if depth < MAX_DEPTH or not self.is_composite(get_named_type(definition.type))
        ]
        if not names:
            return "__typename"
        name = self.draw(st.sampled_from(names))
        return self.field(name, fields[name], depth)

    def target(self, type_: GraphQLNamedType) -> GraphQLNamedType:
        types = SCHEMA.graphql.type_map
        if isinstance(type_, GraphQLObjectType):
            return self.draw(st.sampled_from([type_, *type_.interfaces]))
        assert isinstance(type_, GraphQLInterfaceType | GraphQLUnionType)
        possible = [each.name for each in SCHEMA.graphql.get_possible_types(type_)]
        return types[self.draw(st.sampled_from([type_.name, *possible]))]

    def spread(self, type_: GraphQLNamedType, depth: int) -> str:
        target = self.target(type_)
        known = [name for name, (on, _) in self.fragments.items() if on == target.name]
        if known and self.draw(st.booleans()):
            return f"...{self.draw(st.sampled_from(known))}{self.condition()}"
        # Known to others only when it is complete, so that no cycle can come about.
        text = self.selection(target, depth + 1)
        name = f"F{len(self.fragments)}"
        self.fragments[name] = (target.name, text)
        return f"...{name}{self.condition()}"

    def condition(self) -> str:
        kind = self.draw(st.integers(0, 9))
        if kind > 3:
            return ""
        value = self.draw(st.sampled_from(["true", "false", "$yes", "$no"]))
        if value.startswith("$"):
            self.variables.add(value[1:])
        forms = ("@include(if: {})", "@skip(if: {})", "@skip(if: false) @include(if: {})", "@include(if: {})")
        return " " + forms[kind].format(value)


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "ID": st.sampled_from(["a", "1", 1, 2.0]),
    "String": st.sampled_from(["", "text", "ü☃", 5]),
    "Int": st.sampled_from([0, -1, 2**31 - 1, 2.0, True, "7"]),
    "Float": st.sampled_from([0, 1.5, -0.0, "2.5", 3]),
    "Boolean": st.sampled_from([True, False, 0, 1.5]),
    "AWSDate": st.just("2026-01-01"),
    "AWSDateTime": st.just("2026-01-01T00:00:00.123Z"),
    "AWSTimestamp": st.sampled_from([0, 1.0]),
    "AWSJSON": st.sampled_from(['{"a": 1}', {"a": [1]}, [1], 5, True]),
    "Own": st.sampled_from(["x", {"a": 1}, [1, None]]),
}
WRONG = st.sampled_from([None, None, None, "wrong", 2**40, 1.25, True, [], [None], {}, {"__typename": "Lone"}, 10**300])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str]:
    return Writer(draw).write()


@st.composite
def values(draw: st.DrawFn, type_: Any, noise: int) -> Any:
    return draw_value(draw, type_, 0, noise)


def draw_value(draw: st.DrawFn, type_: Any, depth: int, noise: int) -> Any:
    if draw(st.integers(0, 99)) < noise:
        return draw(WRONG)
    type_ = get_nullable_type(type_)
    if is_list_type(type_):
        return [draw_value(draw, type_.of_type, depth + 1, noise) for _ in range(draw(st.integers(0, 3)))]
    if isinstance(type_, GraphQLEnumType):
        return draw(st.sampled_from(sorted(type_.values)))
    if isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
        chosen = draw(st.sampled_from(sorted(each.name for each in SCHEMA.graphql.get_possible_types(type_))))
        value = draw_value(draw, SCHEMA.graphql.type_map[chosen], depth, noise)
        if isinstance(value, dict) and draw(st.integers(0, 99)) >= noise:
            value["__typename"] = chosen
        elif isinstance(value, dict):
            value["__typename"] = draw(st.sampled_from([None, 5, "Nope", "Int", "Node", "Lone", "Leaf"]))
        return value
    if isinstance(type_, GraphQLObjectType):
        if depth > 5:
            return {}
        return {
            name: draw_value(draw, definition.type, depth + 1, noise)
            for name, definition in type_.fields.items()
            if depth < 4 or is_non_null_type(definition.type)
        }
    return draw(LEAVES[type_.name])


def execute(query: str, variables: dict[str, Any], root: dict[str, Any]) -> tuple[Any, list[Any], list[str]]:
    """graphql-core's result as JSON: data, error paths, messages other than those of nulls."""
    result = execute_sync(SCHEMA.graphql, parse(query), root_value=root, variable_values=variables)
    errors = result.errors or []
    return (
        orjson.loads(orjson.dumps(result.data)),
        [error.path for error in errors],
        [error.message for error in errors if not error.message.startswith("Cannot return null for non-nullable")],
    )


VARIABLES = {"yes": True, "no": False}


@pytest.mark.parametrize("noise", [0, 4, 25])
def test_projecting_is_executing(noise: int) -> None:
    @settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.data())
    def check(data: st.DataObject) -> None:
        query, name = data.draw(documents())
        root_type = SCHEMA.graphql.subscription_type
        assert root_type
        value = data.draw(values(root_type.fields[name].type, noise))
        expected, paths, messages = execute(query, VARIABLES, {name: value})
        event(f"errors: {min(len(paths), 3)}")
        payload = orjson.loads(plan(query, VARIABLES).project(value))
        errors = payload.get("errors", [])
        assert payload["data"] == expected
        assert orjson.dumps(payload["data"]) == orjson.dumps(expected)  # the order of fields, too
        assert [error["path"] for error in errors] == paths
        assert [
            error["message"] for error in errors if not error["message"].startswith("Cannot return null")
        ] == messages
        assert ("errors" in payload) == bool(paths)

    check()


@pytest.mark.parametrize(
    ("query", "data", "expected"),
    [
        (
            "subscription { onTree { nid label } }",
            {"nid": 5, "label": None, "other": 1},
            {"data": {"onTree": {"nid": "5", "label": None}}},
        ),
        ("subscription { onTree { nid } }", None, {"data": {"onTree": None}}),
        (
            "subscription { x: onTree { nid } }",
            {"label": "l"},
            {
                "data": {"x": None},
                "errors": [
                    {
                        "message": "Cannot return null for non-nullable type: 'ID' within parent 'Tree' (/x/nid)",
                        "path": ["x", "nid"],
                    }
                ],
            },
        ),
        (
            "subscription { onTree { forest { right { nid } } } }",
            {"forest": [[{"right": {"nid": "1"}}], [{"right": {"nid": "2"}}, {"right": None}]]},
            {
                "data": {"onTree": {"forest": [[{"right": {"nid": "1"}}], None]}},
                "errors": [
                    {
                        "message": "Cannot return null for non-nullable type: 'Tree' within parent 'Tree' "
                        "(/onTree/forest[1][1]/right)",
                        "path": ["onTree", "forest", 1, 1, "right"],
                    }
                ],
            },
        ),
        (
            "subscription { onStrict { nid } }",
            None,
            {
                "data": None,
                "errors": [
                    {
                        "message": "Cannot return null for non-nullable type: 'Tree' within parent 'Subscription' "
                        "(/onStrict)",
                        "path": ["onStrict"],
                    }
                ],
            },
        ),
        (
            "subscription { onGrid }",
            [[1, None], None, [2]],
            {
                "data": {"onGrid": [None, None, [2]]},
                "errors": [
                    {
                        "message": "Cannot return null for non-nullable type: 'Int' within parent 'Subscription' "
                        "(/onGrid[0][1])",
                        "path": ["onGrid", 0, 1],
                    }
                ],
            },
        ),
        (
            "subscription { onLeaf { blob moment hue } }",
            {"blob": {"b": 1}, "moment": "2026-01-01T00:00Z", "hue": "PINK"},
            {
                "data": {"onLeaf": {"blob": '{"b":1}', "moment": "2026-01-01T00:00Z", "hue": None}},
                "errors": [
                    {"message": "Enum 'Hue' cannot represent value: 'PINK'", "path": ["onLeaf", "hue"]},
                ],
            },
        ),
        (
            "subscription { onEither { __typename ... on Lone { label } } }",
            {"__typename": "Lone", "label": "l"},
            {"data": {"onEither": {"__typename": "Lone", "label": "l"}}},
        ),
        # What graphql-core would look up as attributes of Python objects: no fields.
        (
            "subscription { onTree { label left { label } } }",
            "text",
            {"data": {"onTree": {"label": None, "left": None}}},
        ),
    ],
)
def test_payloads(query: str, data: Any, expected: Any) -> None:
    assert orjson.loads(plan(query).project(data)) == expected


def test_complete_gives_the_parts_of_the_payload() -> None:
    projection = plan("subscription { onTree { nid } }")
    assert projection.complete({"nid": "1"}) == ({"onTree": {"nid": "1"}}, [])
    data, errors = plan("subscription { onStrict { nid } }").complete({})
    assert (data, [error["path"] for error in errors]) == (None, [["onStrict", "nid"]])


@pytest.mark.parametrize(("query", "data"), [("{ x: onTree { nid } }", {"x": None}), ("{ x: onStrict { nid } }", None)])
def test_a_payload_that_is_too_large_is_told(query: str, data: Any) -> None:
    payload = orjson.loads(plan("subscription " + query).too_large(300_000, 245_760))
    [error] = payload["errors"]
    assert payload["data"] == data
    assert (error["errorType"], error["path"]) == ("PayloadTooLarge", ["x"])
    assert "300000 bytes" in error["message"]
    assert "245760 bytes" in error["message"]


def test_values_that_json_cannot_carry_are_told() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    for own in (deep, "\ud800", 2**70):
        payload = orjson.loads(plan("subscription { onLeaf { own } }").project({"own": own}))
        assert payload["data"] == {"onLeaf": None}
        assert payload["errors"][0]["message"].startswith("The value cannot be written as JSON")
        assert payload["errors"][0]["path"] == ["onLeaf"]


def test_which_paths_a_payload_has() -> None:
    schema = parse_schema(
        """
        type Query { q: Int }
        type Mutation { m: Item }
        interface Owner { name: String }
        type Person implements Owner { name: String age: Int }
        type Item { id: ID tags: [Tag] owner: Owner one: Tag }
        type Tag { name: String }
        type Subscription { onItem: Item @aws_subscribe(mutations: ["m"]) }
        """
    )
    query = "subscription { onItem { number: id tags { name } owner { name ... on Person { age } } one { name } } }"
    projection = (
        SubscriptionPlanner(schema, load_settings({}, {}))
        .plan(SubscribeRequest(query, None, {}, {}), ANYBODY)
        .projection
    )
    for path in ("number", "tags", "owner.name", "owner.age", "one.name", "one"):
        assert projection.selects(path.split(".")), path
    for path in ("id", "tags.name", "owner.id", "one.name.x", "nothing"):
        assert not projection.selects(path.split(".")), path
