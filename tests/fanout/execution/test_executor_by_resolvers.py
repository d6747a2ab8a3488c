"""Whatever the document and the values: resolvers that give what fields have anyway change nothing, and an event is
what the mutation's caller got, by name."""

from __future__ import annotations

import asyncio
import copy
from typing import Any
from unittest.mock import patch

import orjson
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
    execute_sync,
    parse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.execution import slices
from fanout.execution.executor import ExecutionResult, Executor
from fanout.schema.resolving import Invocation
from fanout.schema.sdl import parse_schema
from tests.fanout.schema.resolvers import Answering

SCHEMA = parse_schema(
    """
    type Query { thing: Thing things: [Thing!] }
    type Mutation { make: Thing makeAll: [Thing!] other(n: Int): Int }
    interface Node { id: ID child: Node }
    type Thing implements Node {
      id: ID n: Int s: String! json: AWSJSON child: Thing must: Thing! all: [[Thing]!] node: Node
    }
    type Leaf implements Node { id: ID child: Node n: Int }
    """
)
FIELDS = {
    "Thing": ["id", "n", "s", "json", "child", "must", "all", "node", "__typename"],
    "Leaf": ["id", "n", "child", "__typename"],
    "Node": ["id", "child", "__typename"],
}
TYPES = {
    **{("Thing", name): "Thing" for name in ("child", "must", "all")},
    **{("Thing", "node"): "Node", ("Leaf", "child"): "Node", ("Node", "child"): "Node"},
}
FRAGMENTS = "fragment T on Thing { t: n child { id } } fragment N on Node { id ... on Leaf { n } ...T }"


@st.composite
def selections(draw: st.DrawFn, type_: str, depth: int = 3) -> str:
    parts = []
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["field"] * 5 + ["spread", "inline"]))
        if kind == "spread":
            parts.append("...N" if type_ != "Thing" else draw(st.sampled_from(["...T", "...N"])))
        elif kind == "inline" and depth:
            to = draw(st.sampled_from(["Thing", "Leaf", "Node"] if type_ == "Node" else [type_, "Node"]))
            parts.append(f"... on {to} @include(if: $yes) {draw(selections(to, depth - 1))}")
        else:
            name = draw(st.sampled_from([name for name in FIELDS[type_] if depth or (type_, name) not in TYPES]))
            # Names of their own, so that any two fields can be merged.
            alias = draw(st.sampled_from(["", f"{name}_{depth}_{number}: ", f"{name}_x: "]))
            nested = TYPES.get((type_, name))
            directive = draw(st.sampled_from(["", "", " @skip(if: $yes)"]))
            parts.append(alias + name + directive + (" " + draw(selections(nested, depth - 1)) if nested else ""))
    return "{ " + " ".join(parts) + " }"


@st.composite
def documents(draw: st.DrawFn, kind: str, roots: list[str]) -> str:
    chosen = draw(st.lists(st.sampled_from(roots), min_size=1, max_size=3))
    fields = " ".join(f"r{number}: {root} {draw(selections('Thing'))}" for number, root in enumerate(chosen))
    used = f"used: {roots[0]} @include(if: $yes) {{ ...T ...N }}"  # else the document would not be valid
    return f"{kind} ($yes: Boolean! = true) {{ {fields} {used} }} {FRAGMENTS}"


def values(depth: int) -> st.SearchStrategy[Any]:
    """JSON like the types, mostly."""
    leaves: dict[str, st.SearchStrategy[Any]] = {
        "id": st.none() | st.text(max_size=2) | st.integers(0, 9),
        "n": st.none() | st.integers(0, 9) | st.just("no number"),
        "s": st.text(max_size=2) | st.just("s") | st.none(),
        "json": st.sampled_from([None, "[1]", {"a": 1}, "no json"]),
        "__typename": st.sampled_from(["Thing", "Leaf", "Thing"]),
    }
    if depth:
        below = values(depth - 1)
        lists = st.lists(st.none() | st.lists(below, max_size=2), max_size=3)
        leaves |= {"child": below, "must": below, "node": below, "all": lists}
    objects = st.fixed_dictionaries(leaves) | st.fixed_dictionaries({}, optional=leaves)
    return objects | objects | st.none() | st.just("no object")


def transparent(invocation: Invocation) -> Any:
    source = invocation.source
    return copy.deepcopy(source.get(invocation.field_name)) if isinstance(source, dict) else None


def run(query: str, value: Any, *, is_resolved: bool) -> ExecutionResult:
    def answer(invocation: Invocation) -> Any:
        is_list = invocation.field_name in ("things", "makeAll")
        return [copy.deepcopy(value) for _ in range(2)] if is_list else copy.deepcopy(value)

    async def answer_late(invocation: Invocation) -> Any:
        await asyncio.sleep(0)
        return transparent(invocation)

    resolvers = {
        (type_, name): Answering(answer)
        for type_, names in (("Query", ["thing", "things"]), ("Mutation", ["make", "makeAll"]))
        for name in names
    }
    if is_resolved:
        resolvers |= {
            (type_, name): Answering(answer_late if number % 2 else transparent)
            for type_ in ("Thing", "Leaf")
            for number, name in enumerate(FIELDS[type_])
            if name != "__typename"
        }

    async def execute() -> ExecutionResult:
        done = Executor(SCHEMA, resolvers=resolvers).execute(query)
        return done if isinstance(done, ExecutionResult) else await done

    with patch.object(slices, "SLICE", 1 if is_resolved else slices.SLICE):
        return asyncio.run(execute())


class ByName:
    """Compares an event with the response.

    Args:
        fragments: of the document.
        has_errors: where one field is selected twice, under two names, the event has both selections in one object,
            and a null that goes up and takes one of them away takes both.
    """

    def __init__(self, fragments: dict[str, FragmentDefinitionNode], *, has_errors: bool) -> None:
        self._fragments = fragments
        self._has_errors = has_errors

    def check(self, node: FieldNode, got: Any, event: Any) -> None:
        if event is None and self._has_errors:
            return
        if isinstance(got, list):
            assert len(got) == len(event)
            for one, other in zip(got, event, strict=True):
                self.check(node, one, other)
        elif isinstance(got, dict) and node.selection_set:
            self._check_selection(node.selection_set, got, event)
        else:
            assert got == event

    def _check_selection(self, selection_set: SelectionSetNode, got: dict[str, Any], event: Any) -> None:
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                key = (node.alias or node.name).value
                if key in got:  # not: skipped, or of another type
                    self.check(node, got[key], event[node.name.value])
            elif isinstance(node, InlineFragmentNode):
                self._check_selection(node.selection_set, got, event)
            elif isinstance(node, FragmentSpreadNode):
                self._check_selection(self._fragments[node.name.value].selection_set, got, event)


@settings(max_examples=60, deadline=None)
@given(documents("query", ["thing", "things"]) | documents("mutation", ["make", "makeAll"]), values(3))
def test_resolvers_that_give_what_is_there_change_nothing(query: str, value: Any) -> None:
    plain, resolved = (run(query, value, is_resolved=is_resolved) for is_resolved in (False, True))
    assert resolved.response["data"] == plain.response["data"]
    assert resolved.events == plain.events
    assert ("errors" in resolved.response) == ("errors" in plain.response)


@settings(max_examples=60, deadline=None)
@given(documents("mutation", ["make", "makeAll"]), values(3))
def test_an_event_is_what_the_caller_got_by_name(query: str, value: Any) -> None:
    done = run(query, value, is_resolved=True)
    if done.response["data"] is None or ("errors" in done.response and "Validation" in str(done.response)):
        return
    document = parse(query)
    operation, *rest = document.definitions
    fragments = {part.name.value: part for part in rest}  # type: ignore[attr-defined]
    roots = [node for node in operation.selection_set.selections if done.response["data"][node.alias.value] is not None]
    assert [event.mutation for event in done.events] == [node.name.value for node in roots]
    by_name = ByName(fragments, has_errors="errors" in done.response)
    for node, event in zip(roots, done.events, strict=True):
        by_name.check(node, done.response["data"][node.alias.value], orjson.loads(event.data))


def resolve_by_default(source: Any, info: Any, **arguments: Any) -> Any:
    """What graphql-core is given where there are no resolvers."""
    if info.parent_type is info.schema.mutation_type:
        return arguments.get("n") if info.field_name == "other" else {}
    return source.get(info.field_name) if isinstance(source, dict) else None


@settings(max_examples=40, deadline=None)
@given(documents("query", ["thing", "things"]) | documents("mutation", ["make"]), st.none() | st.booleans())
def test_without_resolvers_responses_are_graphql_core_s(query: str, yes: bool | None) -> None:
    variables = {} if yes is None else {"yes": yes}
    done = Executor(SCHEMA, new_id=lambda: "id").execute(query, variables)
    assert isinstance(done, ExecutionResult)
    expected = execute_sync(SCHEMA.graphql, parse(query), None, None, variables, field_resolver=resolve_by_default)
    assert done.response == dict(expected.formatted)
