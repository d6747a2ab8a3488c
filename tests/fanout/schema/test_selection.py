"""Selections: fragments are spread, fields merged, and what gives the same payload has the same key."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    OperationDefinitionNode,
    build_schema,
    get_variable_values,
    parse,
    validate,
)
from graphql.execution.values import VariableValues

from fanout.schema.selection import AbstractSelection, ObjectSelection, SelectionCompiler
from fanout.schema.wording import SUBSCRIPTION_RULES

SCHEMA = build_schema(
    """
    interface Named { name: String }
    type Cat implements Named { name: String lives: Int owner(x: Int): Person }
    type Person implements Named { name: String cat: Cat friends: [Named!] }
    union Any = Cat | Person
    type Query { a: Int }
    type Subscription { onCat(x: Int): Cat onAny: Any onNamed: Named }
    """
)


def compile_text(text: str, variables: dict[str, Any] | None = None, *, is_by_name: bool = False) -> ObjectSelection:
    document = parse(text)
    assert validate(SCHEMA, document, SUBSCRIPTION_RULES) == []
    [operation] = [part for part in document.definitions if isinstance(part, OperationDefinitionNode)]
    fragments = {part.name.value: part for part in document.definitions if isinstance(part, FragmentDefinitionNode)}
    values = get_variable_values(SCHEMA, operation.variable_definitions or (), variables or {})
    assert isinstance(values, VariableValues)
    assert SCHEMA.subscription_type
    compiler = SelectionCompiler(SCHEMA, fragments, values, is_by_name=is_by_name)
    return compiler.compile(SCHEMA.subscription_type, [operation.selection_set])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("subscription { onCat { lives name } }", "{onCat{lives name}}"),
        ("subscription { c: onCat { n: name name } }", "{c:onCat{n:name name}}"),
        ("subscription { onCat { name lives name } }", "{onCat{name lives}}"),
        ("subscription { onCat { name: name } }", "{onCat{name}}"),
        ("subscription { ... { onCat { ...F lives } } } fragment F on Cat { name }", "{onCat{name lives}}"),
        ("subscription { onCat { ...F ...F } } fragment F on Cat { name }", "{onCat{name}}"),
        (
            "subscription { onCat { owner { name } owner { __typename cat { name } } } }",
            "{onCat{owner{name __typename cat{name}}}}",
        ),
        ("subscription { onCat { ... on Named { name } } }", "{onCat{name}}"),
        ("subscription { onAny { ... on Cat { lives } } }", "{onAny<...Cat{lives} ...Person{}>}"),
        (
            "subscription { onNamed { name ... on Person { cat { lives } } } }",
            "{onNamed<...Cat{name} ...Person{name cat{lives}}>}",
        ),
        ("subscription { onCat(x: 1) { name @skip(if: true) lives @include(if: true) } }", "{onCat{lives}}"),
        ("subscription { onCat(x: 2) { ... @include(if: false) { name } lives @skip(if: false) } }", "{onCat{lives}}"),
        ("subscription { onCat { name @include(if: true) @skip(if: true) } }", "{onCat{}}"),
    ],
)
def test_canonical_text(text: str, key: str) -> None:
    assert compile_text(text).key == key


def test_variables_decide_conditions() -> None:
    text = (
        "subscription ($yes: Boolean! $no: Boolean = false) { onCat { name @include(if: $yes) ...F @skip(if: $no) } }"
    )
    text += " fragment F on Cat { lives }"
    assert compile_text(text, {"yes": True}).key == "{onCat{name lives}}"
    assert compile_text(text, {"yes": False, "no": True}).key == "{onCat{}}"
    with pytest.raises(GraphQLError):
        compile_text(text, {"yes": False, "no": None})


def test_by_name_merges_aliases_and_adds_the_type_where_it_is_needed() -> None:
    text = "subscription { a: onNamed { x: name y: name } b: onNamed { ... on Cat { lives } } c: onCat { n: name } }"
    key = "{onNamed<...Cat{name lives __typename} ...Person{name __typename}> onCat{name}}"
    assert compile_text(text, is_by_name=True).key == key


def test_the_tree() -> None:
    selection = compile_text("subscription { x: onCat { owner { friends { name } } } }")
    [root] = selection.fields
    assert (root.response_key, root.name, str(root.type)) == ("x", "onCat", "Cat")
    assert isinstance(root.selection, ObjectSelection)
    [owner] = root.selection.fields
    assert isinstance(owner.selection, ObjectSelection)
    [friends] = owner.selection.fields
    assert str(friends.type) == "[Named!]"
    assert isinstance(friends.selection, AbstractSelection)
    assert set(friends.selection.by_type) == {"Cat", "Person"}
    name = friends.selection.by_type["Cat"].fields[0]
    assert (name.name, name.selection) == ("name", None)


def test_one_field_of_several() -> None:
    document = parse("subscription { x: onCat { name } x: onCat { lives } }")
    [operation] = document.definitions
    assert isinstance(operation, OperationDefinitionNode)
    nodes = [node for node in operation.selection_set.selections if isinstance(node, FieldNode)]
    assert SCHEMA.subscription_type
    for is_by_name, key in ((False, "{x:onCat{name lives}}"), (True, "{onCat{name lives}}")):
        compiler = SelectionCompiler(SCHEMA, {}, VariableValues({}, {}), is_by_name=is_by_name)
        assert compiler.compile_field(SCHEMA.subscription_type, nodes).key == key


def test_types_that_multiply_are_bounded() -> None:
    depth = 14
    text = "subscription { onNamed { ...F0 } }" + " ".join(
        f"fragment F{i} on Named {{ ... on Person {{ friends {{ ...F{i + 1} }} cat {{ owner {{ ...F{i + 1} }} }} }} }}"
        for i in range(depth)
    )
    with pytest.raises(GraphQLError, match="comes to more than 10000 fields"):
        compile_text(text + f" fragment F{depth} on Named {{ name }}")


def test_a_fragment_that_is_spread_twice_is_read_once() -> None:
    levels = 40
    text = "subscription { onCat { ...F0 ...F0 } }" + " ".join(
        f"fragment F{i} on Cat {{ owner {{ cat {{ ...F{i + 1} ...F{i + 1} }} }} }}" for i in range(levels)
    )
    assert compile_text(text + f" fragment F{levels} on Cat {{ name }}").key.count("owner") == levels
