"""From a selection in a document to what is selected: fragments spread, fields merged, `@include`/`@skip` decided.

The result is a tree of plain values with a canonical text: selections that are written differently but give the
same payload for every event have equal keys. Knows GraphQL's types and syntax, not events or payloads.
Rules: GraphQL specification, section 6.3.2 "Field Collection".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLIncludeDirective,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLSkipDirective,
    GraphQLUnionType,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_directive_values,
    get_named_type,
    is_abstract_type,
)
from graphql.execution.values import VariableValues

from fanout.schema.documents import MAX_SELECTED_FIELDS

TYPENAME = "__typename"
Place = tuple[str, str]
"""Object type and field."""
_NOWHERE = ""  # no field has this name


@dataclass(frozen=True, slots=True)
class SelectedField:
    """One field of the payload.

    Args:
        response_key: its name in the payload: alias or name.
        name: its name in the event; `__typename` is no field of the event, but the name of the type.
        type: its type in the schema.
        selection: what is selected of its value; None for scalars and enums.
    """

    response_key: str
    name: str
    type: GraphQLOutputType
    selection: ObjectSelection | AbstractSelection | None


@dataclass(frozen=True, slots=True)
class ObjectSelection:
    """What is selected of an object: its fields in the order of the payload. `key` is its canonical text."""

    type: GraphQLObjectType
    fields: tuple[SelectedField, ...]
    key: str


@dataclass(frozen=True, slots=True)
class AbstractSelection:
    """What is selected of an interface or union: one selection for each object type that it can be, by name."""

    type: GraphQLInterfaceType | GraphQLUnionType
    by_type: Mapping[str, ObjectSelection]
    key: str


class SelectionCompiler:
    """Compiles selections of one operation with certain variables.

    Args:
        schema: the schema.
        fragments: of the document.
        variables: as coerced by graphql-core; only those in `@include` and `@skip` matter.
        is_by_name: merge by field name instead of response key, and always select `__typename` of interfaces and
            unions: not what a payload has, but what an event needs to have for it.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
        *,
        is_by_name: bool = False,
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._variables = variables
        self._is_by_name = is_by_name
        self._budget = MAX_SELECTED_FIELDS

    def compile(self, type_: GraphQLObjectType, selection_sets: Iterable[SelectionSetNode]) -> ObjectSelection:
        """What the selection sets together select of an object of this type.

        Arguments of fields below the root have no effect: the value is the event's, whatever they are.

        Raises:
            GraphQLError: `@include`/`@skip` with a null variable, or more than `MAX_SELECTED_FIELDS` fields once
                the types of interfaces and unions are told apart.
        """
        return self._compile_object(type_, selection_sets, is_typename_added=False)

    def compile_field(self, type_: GraphQLObjectType, nodes: list[FieldNode]) -> ObjectSelection:
        """What these nodes of one field together select: a selection of `type_` with this field only.

        Raises:
            GraphQLError: as `compile`.
        """
        name = nodes[0].name.value
        key = name if self._is_by_name else (nodes[0].alias or nodes[0].name).value
        field = self._compile_field(type_, key, nodes)
        return ObjectSelection(type_, (field,), "{" + _write_key(field) + "}")

    def _compile_object(
        self, type_: GraphQLObjectType, selection_sets: Iterable[SelectionSetNode], *, is_typename_added: bool
    ) -> ObjectSelection:
        collected: dict[str, list[FieldNode]] = {}
        visited: set[str] = set()
        for selection_set in selection_sets:
            self._collect(type_, selection_set, collected, visited)
        fields = [self._compile_field(type_, key, nodes) for key, nodes in collected.items()]
        if is_typename_added and TYPENAME not in collected:
            fields.append(self._compile_field(type_, TYPENAME, []))
        return ObjectSelection(type_, tuple(fields), "{" + " ".join(map(_write_key, fields)) + "}")

    def _compile_field(self, type_: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> SelectedField:
        self._budget -= 1
        if self._budget < 0:
            raise GraphQLError(f"The selection comes to more than {MAX_SELECTED_FIELDS} fields.", nodes)
        name = nodes[0].name.value if nodes else TYPENAME
        field = self._schema.get_field(type_, name)
        assert field is not None, "validation has checked that the field exists"
        selection_sets = [node.selection_set for node in nodes if node.selection_set]
        return SelectedField(key, name, field.type, self._compile_type(get_named_type(field.type), selection_sets))

    def _compile_type(
        self, type_: GraphQLNamedType, selection_sets: list[SelectionSetNode]
    ) -> ObjectSelection | AbstractSelection | None:
        if isinstance(type_, GraphQLObjectType):
            return self._compile_object(type_, selection_sets, is_typename_added=False)
        if not isinstance(type_, GraphQLInterfaceType | GraphQLUnionType):
            return None
        by_type = {
            possible.name: self._compile_object(possible, selection_sets, is_typename_added=self._is_by_name)
            for possible in sorted(self._schema.get_possible_types(type_), key=lambda possible: possible.name)
        }
        text = " ".join(f"...{name}{selection.key}" for name, selection in by_type.items())
        return AbstractSelection(type_, by_type, f"<{text}>")

    def _collect(
        self,
        type_: GraphQLObjectType,
        selection_set: SelectionSetNode,
        collected: dict[str, list[FieldNode]],
        visited: set[str],
    ) -> None:
        for node in selection_set.selections:
            if not self._is_included(node):
                continue
            if isinstance(node, FieldNode):
                key = node.alias.value if node.alias and not self._is_by_name else node.name.value
                collected.setdefault(key, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._fits(type_, node.type_condition.name.value):
                    self._collect(type_, node.selection_set, collected, visited)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                if node.name.value not in visited and self._fits(type_, fragment.type_condition.name.value):
                    visited.add(node.name.value)
                    self._collect(type_, fragment.selection_set, collected, visited)

    def _is_included(self, node: SelectionNode) -> bool:
        if not node.directives:
            return True
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        if skip and skip["if"]:
            return False
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return not include or bool(include["if"])

    def _fits(self, type_: GraphQLObjectType, condition: str) -> bool:
        if condition == type_.name:
            return True
        conditional = self._schema.get_type(condition)
        return is_abstract_type(conditional) and self._schema.is_sub_type(conditional, type_)


def list_path_places(
    schema: GraphQLSchema, type_: GraphQLOutputType, paths: Iterable[tuple[str, ...]]
) -> tuple[Place, ...]:
    """All fields that paths lead through from a value of a type: each once. What no type has is passed over."""
    places: dict[Place, None] = {}
    for path in sorted(paths):
        types = {type_}
        for name in path:
            objects = [each for named in map(get_named_type, types) for each in _list_object_types(schema, named)]
            having = [each for each in objects if name in each.fields]
            places.update(((each.name, name), None) for each in having)
            types = {each.fields[name].type for each in having}
    return tuple(places)


def _list_object_types(schema: GraphQLSchema, type_: GraphQLNamedType) -> Sequence[GraphQLObjectType]:
    match type_:
        case GraphQLObjectType():
            return (type_,)
        case GraphQLInterfaceType() | GraphQLUnionType():
            return sorted(schema.get_possible_types(type_), key=lambda possible: possible.name)
        case _:
            return ()


def list_places(selection: ObjectSelection) -> tuple[Place, ...]:
    """All fields that a selection reads, as (object type, field): each once, outer ones first, without `__typename`."""
    places: dict[Place, None] = {}
    pending: list[ObjectSelection] = [selection]
    for each in pending:
        for field in each.fields:
            if field.name != TYPENAME:
                places[each.type.name, field.name] = None
            match field.selection:
                case ObjectSelection() as nested:
                    pending.append(nested)
                case AbstractSelection(by_type=by_type):
                    pending.extend(by_type.values())
                case None:
                    pass
    return tuple(places)


def close_places(selection: ObjectSelection, is_open: Callable[[str, str], bool]) -> ObjectSelection:
    """The same selection, in which fields that are not open read what no event has: their values come out as null."""
    return ObjectSelection(
        selection.type,
        tuple(
            replace(field, name=field.name if is_open(selection.type.name, field.name) else _NOWHERE, selection=nested)
            for field in selection.fields
            for nested in (_close_nested(field.selection, is_open),)
        ),
        selection.key,
    )


def _close_nested(
    selection: ObjectSelection | AbstractSelection | None, is_open: Callable[[str, str], bool]
) -> ObjectSelection | AbstractSelection | None:
    match selection:
        case ObjectSelection():
            return close_places(selection, is_open)
        case AbstractSelection():
            by_type = {name: close_places(each, is_open) for name, each in selection.by_type.items()}
            return AbstractSelection(selection.type, by_type, selection.key)
        case None:
            return None


def _write_key(field: SelectedField) -> str:
    text = field.name if field.name == field.response_key else f"{field.response_key}:{field.name}"
    return text + field.selection.key if field.selection else text
