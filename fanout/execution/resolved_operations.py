"""Which operations of a document touch a field that has a resolver. Knows schema and syntax; runs nothing.

Worked out once per document, so that what has no resolver is executed without waiting.
"""

from __future__ import annotations

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    InlineFragmentNode,
    SelectionSetNode,
    get_named_type,
)

from fanout.schema.documents import Document
from fanout.schema.resolving import Resolvers


def find_resolved_operations(schema: GraphQLSchema, resolvers: Resolvers, document: Document) -> frozenset[str]:
    """The names of the operations in which a resolver may be called, "" for one without a name.

    Args:
        schema: the schema.
        resolvers: by type and field.
        document: valid for the schema.
    """
    if not resolvers:
        return frozenset()
    search = _Search(schema, resolvers, document)
    return frozenset(
        operation.name.value if operation.name else ""
        for operation in document.operations
        if search.touches(schema.get_root_type(operation.operation), operation.selection_set)
    )


class _Search:
    def __init__(self, schema: GraphQLSchema, resolvers: Resolvers, document: Document) -> None:
        self._schema = schema
        self._resolvers = resolvers
        self._document = document
        self._fragments: dict[str, bool] = {}

    def touches(self, type_: GraphQLNamedType | None, selection_set: SelectionSetNode) -> bool:
        """Whether a selection of a type, which may be abstract, has a field with a resolver at any depth."""
        return any(self._selects(type_, node) for node in selection_set.selections)

    def _selects(self, type_: GraphQLNamedType | None, node: object) -> bool:
        match node:
            case FieldNode():
                if self._is_resolved(type_, node.name.value):
                    return True
                field = self._schema.get_field(type_, node.name.value) if _has_fields(type_) else None  # type: ignore[arg-type]
                return bool(
                    node.selection_set and field and self.touches(get_named_type(field.type), node.selection_set)
                )
            case InlineFragmentNode():
                condition = node.type_condition
                narrowed = self._schema.get_type(condition.name.value) if condition else type_
                return self.touches(narrowed, node.selection_set)
            case FragmentSpreadNode():
                return self._spreads(node.name.value)
        return False

    def _spreads(self, name: str) -> bool:
        known = self._fragments.get(name)
        if known is None:
            fragment = self._document.fragments[name]
            type_ = self._schema.get_type(fragment.type_condition.name.value)
            known = self._fragments[name] = self.touches(type_, fragment.selection_set)
        return known

    def _is_resolved(self, type_: GraphQLNamedType | None, name: str) -> bool:
        match type_:
            case GraphQLObjectType():
                return (type_.name, name) in self._resolvers
            case GraphQLInterfaceType() | GraphQLUnionType():
                return any(
                    (possible.name, name) in self._resolvers for possible in self._schema.get_possible_types(type_)
                )
        return False


def _has_fields(type_: GraphQLNamedType | None) -> bool:
    """Of a union, only `__typename` can be asked for outside fragments."""
    return isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)
