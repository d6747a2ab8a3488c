"""From a document of a client to the one subscription that is meant by it. Pure; knows no filters and no identity.

What happens once per distinct document (parse, validate, find the root field) and once per distinct selection (compile
the projection) is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    SingleFieldSubscriptionsRule,
    VariableNode,
    get_variable_values,
    validate,
)
from graphql.execution.values import VariableValues

from fanout.errors import BadRequest, DuplicatedOperation
from fanout.schema.documents import Document, DocumentReader, find_operation
from fanout.schema.lru import Lru
from fanout.schema.projection import Projection
from fanout.schema.resolving import SelectionText
from fanout.schema.sdl import ApiSchema
from fanout.schema.selection import SelectionCompiler
from fanout.schema.selection_text import describe_selection
from fanout.schema.wording import MAX_SHOWN_ERRORS, SUBSCRIPTION_RULES, format_errors, reword_variable_errors
from fanout.settings import Settings

# Apps have tens of documents. Weighed in characters: a syntax tree takes up to 250 bytes for each.
_MAX_OPERATIONS, _MAX_OPERATIONS_WEIGHT = 1024, 200_000
_MAX_PROJECTIONS_PER_OPERATION = 64
_CONDITIONAL_DIRECTIVES = frozenset({"include", "skip"})


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """A valid subscription operation, and what does not depend on its variables' values.

    Args:
        query: the document's text.
        node: the operation.
        fragments: of its document.
        roots: the nodes of the root field: a document may select it in parts.
        field: the root field in the schema.
        conditions: names of the variables in `@include` and `@skip`.
        projections: by the values of `conditions`.
    """

    query: str
    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    roots: tuple[FieldNode, ...]
    field: GraphQLField
    conditions: tuple[str, ...]
    projections: Lru[tuple[Any, ...], Projection]

    @property
    def field_name(self) -> str:
        """Name of the root field."""
        return self.root.name.value

    @property
    def root(self) -> FieldNode:
        """The first node of the root field: all have the same name and arguments."""
        return self.roots[0]


class OperationReader:
    """Reads the subscription documents of one schema. Bounded in memory, whatever clients send.

    Args:
        schema: the API.
        settings: limits of documents.
    """

    def __init__(self, schema: ApiSchema, settings: Settings) -> None:
        self._schema = schema.graphql
        self._hides_names = not settings.introspection
        self._documents = DocumentReader(schema.graphql, settings, SUBSCRIPTION_RULES)
        self._operations: Lru[tuple[str, str | None], Operation] = Lru(_MAX_OPERATIONS, _MAX_OPERATIONS_WEIGHT)
        self._projections: WeakValueDictionary[str, Projection] = WeakValueDictionary()

    def read(self, query: str, name: str | None) -> Operation:
        """The operation of this name. Takes 1.5 ms and more for a document that was not read before.

        Raises:
            BadRequest: an invalid document; `errors` has all of them.
            DuplicatedOperation: more than one root field (AppSync's error for it).
        """
        operation = self._operations.get((query, name))
        if operation is None:
            operation = self._read(query, name)
            self._operations.put((query, name), operation, len(query))
        return operation

    def coerce_variables(self, operation: Operation, variables: Mapping[str, Any]) -> VariableValues:
        """The variables' values by the types of the operation.

        Raises:
            BadRequest: values that do not fit; `errors` has all of them.
        """
        definitions = operation.node.variable_definitions or ()
        values = get_variable_values(
            self._schema,
            definitions,
            dict(variables),
            max_errors=MAX_SHOWN_ERRORS,
            hide_suggestions=self._hides_names,
        )
        if isinstance(values, list):
            raise refuse(reword_variable_errors(self._schema, operation.node, variables, values))
        return values

    def describe_selection(self, query: str, name: str | None, variables: Mapping[str, Any]) -> SelectionText:
        """What a valid operation selects below its root field with these variables."""
        operation = self.read(query, name)
        return describe_selection(operation.roots, operation.fragments, self.coerce_variables(operation, variables))

    def find_projection(self, operation: Operation, values: VariableValues) -> Projection:
        """What is selected with these variables: one object for all equal selections.

        Raises:
            GraphQLError: see `SelectionCompiler.compile`.
        """
        chosen = tuple([values.coerced.get(name) for name in operation.conditions])
        projection = operation.projections.get(chosen)
        if projection is None:
            type_ = self._schema.subscription_type
            assert type_ is not None
            compiler = SelectionCompiler(self._schema, operation.fragments, values)
            selection = compiler.compile(type_, [operation.node.selection_set])
            projection = self._projections.get(selection.key)
            if projection is None:
                projection = Projection(self._schema, selection)
                self._projections[selection.key] = projection
            operation.projections.put(chosen, projection)
        return projection

    def _read(self, query: str, name: str | None) -> Operation:
        document = self._documents.read(query)
        if not isinstance(document, Document):
            raise refuse(document)
        node = find_operation(document, name)
        if isinstance(node, GraphQLError):
            raise refuse([node])
        if node.operation is not OperationType.SUBSCRIPTION:
            raise BadRequest(
                f"This is a {node.operation.value}: send it with POST to /graphql, "
                "only subscriptions are served over WebSocket."
            )
        roots = self._find_roots(document, node)
        type_ = self._schema.subscription_type
        assert type_ is not None, "validation has checked that the operation's type exists"
        conditions = dict.fromkeys(_list_conditions(node.selection_set, document.fragments, set()))
        return Operation(
            query=query,
            node=node,
            fragments=document.fragments,
            roots=roots,
            field=type_.fields[roots[0].name.value],
            conditions=tuple(conditions),
            projections=Lru(_MAX_PROJECTIONS_PER_OPERATION, _MAX_PROJECTIONS_PER_OPERATION),
        )

    def _find_roots(self, document: Document, operation: OperationDefinitionNode) -> tuple[FieldNode, ...]:
        roots: dict[str, list[FieldNode]] = {}
        for node in _list_fields(operation.selection_set, document.fragments, set()):
            roots.setdefault((node.alias or node.name).value, []).append(node)
        if len(roots) > 1:
            raise DuplicatedOperation(
                f"A subscription selects one root field, this one selects {len(roots)}: {', '.join(roots)}. "
                "Start one subscription for each."
            )
        errors = validate(self._schema, document.node, [SingleFieldSubscriptionsRule])
        if errors:
            raise refuse(errors)
        if not roots:
            raise BadRequest("The subscription selects no field.")
        [nodes] = roots.values()
        return tuple(nodes)


def refuse(errors: Iterable[GraphQLError]) -> BadRequest:
    """The client's mistakes as one."""
    formatted = format_errors(errors)
    return BadRequest(formatted[0]["message"], errors=formatted)


def _list_fields(
    selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], visited: set[str]
) -> Iterator[FieldNode]:
    """The fields of one level, with fragments spread, each once."""
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            yield node
        elif not isinstance(node, FragmentSpreadNode):
            yield from _list_fields(node.selection_set, fragments, visited)  # type: ignore[attr-defined]
        elif node.name.value not in visited:
            visited.add(node.name.value)
            yield from _list_fields(fragments[node.name.value].selection_set, fragments, visited)


def _list_conditions(
    selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], visited: set[str]
) -> Iterator[str]:
    """Names of the variables that decide what a selection includes or skips, at any level."""
    for node in selection_set.selections:
        for directive in node.directives or ():
            if directive.name.value not in _CONDITIONAL_DIRECTIVES:
                continue
            for argument in directive.arguments or ():
                if isinstance(argument.value, VariableNode):
                    yield argument.value.name.value
        if not isinstance(node, FragmentSpreadNode):
            nested: SelectionSetNode | None = node.selection_set  # type: ignore[attr-defined]
            if nested:
                yield from _list_conditions(nested, fragments, visited)
        elif node.name.value not in visited:
            visited.add(node.name.value)
            yield from _list_conditions(fragments[node.name.value].selection_set, fragments, visited)
