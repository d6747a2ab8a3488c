"""Reading a client's GraphQL document: parse, validate, limit. Knows the schema, not what the document is for.

Whatever the text is, the result is a document that is valid and small enough to execute, or GraphQL errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
    validate,
)
from graphql.validation.rules import overlapping_fields_can_be_merged

from fanout.schema.wording import MAX_SHOWN_ERRORS
from fanout.settings import Settings

MAX_SELECTED_FIELDS: Final = 10_000
"""Fields of a document once its fragments are spread: a few fragments that spread each other twice select millions.
AppSync's quota for resolvers run per request."""

# What the comparison of overlapping fields may cost: a document of 15,000 tokens that repeats one field took 1 s with
# the library's 500,000, and holds up everybody; 0.1 s with this, and `{ id id id ...}` is still read up to 150 times.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 50_000

Errors = tuple[GraphQLError, ...]
Rules = Sequence[type[ASTValidationRule]]


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A valid document.

    Args:
        node: its syntax tree.
        operations: in the order of the text.
        fragments: by name.
    """

    node: DocumentNode
    operations: tuple[OperationDefinitionNode, ...]
    fragments: Mapping[str, FragmentDefinitionNode]


class DocumentReader:
    """Reads documents for one schema.

    Args:
        schema: what to validate against.
        settings: `max_document_...`, and `introspection`: without it, neither documents nor errors tell names of the
            schema that the client does not know.
        rules: graphql-core's validation rules, or ours in their place.
    """

    def __init__(self, schema: GraphQLSchema, settings: Settings, rules: Rules) -> None:
        self._schema = schema
        self._max_tokens = settings.max_document_tokens
        self._max_depth = settings.max_document_depth
        self._max_root_fields = settings.max_document_root_fields
        self._max_aliases = settings.max_document_aliases
        self._max_directives = settings.max_document_directives
        self._hides_names = not settings.introspection
        self._rules = (*rules, NoSchemaIntrospectionCustomRule) if self._hides_names else rules

    def read(self, query: str) -> Document | Errors:
        """Parse and validate. Takes 1 ms for ten fields, at most 0.6 s for 15,000 tokens: keep the result."""
        try:
            node = parse(query, max_tokens=self._max_tokens)
        except GraphQLError as error:
            return (error,)
        aliases, directives = _count_parts(node)
        if aliases > self._max_aliases:
            return (_refuse_excess(f"has {aliases} aliases", self._max_aliases),)
        if directives > self._max_directives:
            return (_refuse_excess(f"has {directives} directives", self._max_directives),)
        errors = validate(
            self._schema, node, self._rules, max_errors=MAX_SHOWN_ERRORS, hide_suggestions=self._hides_names
        )
        if errors:
            return tuple(errors)
        operations = tuple(part for part in node.definitions if isinstance(part, OperationDefinitionNode))
        fragments = {part.name.value: part for part in node.definitions if isinstance(part, FragmentDefinitionNode)}
        extent = _Extent(fragments)
        for operation in operations:
            depth, fields, roots = extent.measure(operation.selection_set)
            if depth > self._max_depth:
                return (_refuse_excess(f"is nested {depth} levels deep", self._max_depth, operation),)
            if fields > MAX_SELECTED_FIELDS:
                return (_refuse_excess(f"selects {fields} fields", MAX_SELECTED_FIELDS, operation),)
            if roots > self._max_root_fields:
                return (_refuse_excess(f"selects {roots} root fields", self._max_root_fields, operation),)
        return Document(node, operations, fragments)


def find_operation(document: Document, name: str | None) -> OperationDefinitionNode | GraphQLError:
    """The operation to execute, or why there is none in graphql-core's words. An empty name counts as none."""
    if name:
        for operation in document.operations:
            if operation.name and operation.name.value == name:
                return operation
        return GraphQLError(f"Unknown operation named '{name}'.")
    if len(document.operations) > 1:
        return GraphQLError("Must provide operation name if query contains multiple operations.")
    if not document.operations:
        return GraphQLError("Must provide an operation.")
    return document.operations[0]


def _refuse_excess(what: str, limit: int, node: OperationDefinitionNode | None = None) -> GraphQLError:
    return GraphQLError(f"The document {what}, the limit is {limit}.", node)


def _count_parts(document: DocumentNode) -> tuple[int, int]:
    """Aliases and directives of a document as it is written: before it is validated, which takes longer for each."""
    aliases = directives = 0
    # A stack of our own, since how deep it is nested is the client's choice.
    pending: list[Any] = list(document.definitions)
    while pending:
        part = pending.pop()
        directives += len(getattr(part, "directives", None) or ())
        if isinstance(part, FieldNode) and part.alias:
            aliases += 1
        pending += getattr(part, "variable_definitions", None) or ()
        selection_set = getattr(part, "selection_set", None)
        if selection_set:
            pending += selection_set.selections
    return aliases, directives


class _Extent:
    """Measures selections with their fragments spread, each fragment once. Validation has refused cycles, and
    nesting beyond 200 levels, fragments included."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._measured: dict[str, tuple[int, int, int]] = {}

    def measure(self, selection_set: SelectionSetNode) -> tuple[int, int, int]:
        """Levels of fields, number of fields, and number of those on the first level."""
        deepest = total = first = 0
        for selection in selection_set.selections:
            if isinstance(selection, FieldNode):
                depth, fields, _ = self.measure(selection.selection_set) if selection.selection_set else (0, 0, 0)
                depth, fields, roots = depth + 1, fields + 1, 1
            elif isinstance(selection, FragmentSpreadNode):
                depth, fields, roots = self._measure_fragment(selection.name.value)
            else:
                depth, fields, roots = self.measure(selection.selection_set)  # type: ignore[attr-defined]
            deepest = max(deepest, depth)
            total += fields
            first += roots
        return deepest, total, first

    def _measure_fragment(self, name: str) -> tuple[int, int, int]:
        measured = self._measured.get(name)
        if measured is None:
            measured = self._measured[name] = self.measure(self._fragments[name].selection_set)
        return measured
