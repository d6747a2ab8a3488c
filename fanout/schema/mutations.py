"""Executing documents over HTTP: queries, introspection, and mutations with the events they make. Knows no bus.

There are no resolvers yet. A query field is null. A mutation's result is its input:

- the argument `input`, or the only argument, where that is an input object; where the result is a scalar, enum or
  list, the only argument whatever it is; else the arguments as one object;
- with a missing `id: ID!` generated, and missing `createdAt`/`updatedAt` of type AWSDateTime set to now;
- arguments that were left out are absent, explicit nulls are null.

As in AppSync, a mutation makes an event when its result is not null, and the event has the fields that the mutation
selected and no others, by name, whatever their aliases. Responses and errors are graphql-core's, word for word.

A field that is not open to who asks is null, in the response and in the event, with AppSync's error; nulls where none
can be go up as always. A mutation that is not open is not executed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLResolveInfo,
    GraphQLUnionType,
    OperationType,
    execute_sync,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    specified_rules,
)

from fanout.errors import ConfigurationError, FieldDenied
from fanout.model import NewEvent
from fanout.schema.access import Access
from fanout.schema.documents import Document, DocumentReader, Errors, find_operation
from fanout.schema.lru import Lru
from fanout.schema.projection import Projection
from fanout.schema.sdl import ApiSchema
from fanout.schema.selection import TYPENAME, SelectionCompiler, close_places
from fanout.schema.wording import format_errors
from fanout.settings import Settings

INPUT_ARGUMENT: Final = "input"
_GENERATED_ID: Final = ("id", "ID!")
_TIMES: Final = ("createdAt", "updatedAt")
_MAX_DOCUMENTS, _MAX_DOCUMENTS_WEIGHT = 1024, 200_000


@dataclass(frozen=True, slots=True)
class MutationResult:
    """What executing a document came to.

    Args:
        response: `data` and `errors`, to be sent as JSON.
        events: to be published before the response is sent; one per mutation field with a result, in order.
    """

    response: dict[str, Any]
    events: tuple[NewEvent, ...]


class MutationExecutor:
    """Executes documents for one schema. Bounded in memory, whatever clients send.

    Args:
        schema: the API.
        settings: limits of documents.
        now: the present time in AWSDateTime's form.
        new_id: a new unique id.

    Raises:
        ConfigurationError: settings of a mutation that the schema does not have.
    """

    def __init__(
        self,
        schema: ApiSchema,
        settings: Settings | None = None,
        *,
        now: Callable[[], str] = lambda: datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        for name in settings.mutations if settings else ():
            if name not in schema.mutations:
                known = ", ".join(sorted(schema.mutations)) or "none"
                raise ConfigurationError(f"mutations.{name}: no such mutation field; the schema has {known}")
        self._schema = schema.graphql
        self._hides_names = settings is not None and not settings.introspection
        self._reader = DocumentReader(schema.graphql, settings or Settings.model_validate({}), specified_rules)
        self._documents: Lru[str, Document] = Lru(_MAX_DOCUMENTS, _MAX_DOCUMENTS_WEIGHT)
        self._now = now
        self._new_id = new_id

    def execute(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        operation_name: str | None = None,
        access: Access | None = None,
    ) -> MutationResult:
        """Execute one operation of a document. Never waits; a client's mistakes are in the response.

        Args:
            query: the document.
            variables: JSON values by name.
            operation_name: which operation; None or empty where there is one only.
            access: which fields are open to who asks; None: all.
        """
        document = self._read(query)
        if not isinstance(document, Document):
            return _refuse(*document)
        operation = find_operation(document, operation_name)
        if isinstance(operation, GraphQLError):
            return _refuse(operation)
        if operation.operation is OperationType.SUBSCRIPTION:
            return _refuse(
                GraphQLError("Subscriptions are served over WebSocket: connect to this path with one.", operation)
            )
        execution = _Execution(document, self._build_value, access)
        result = execute_sync(
            self._schema,
            document.node,
            variable_values=dict(variables or {}),
            operation_name=operation_name or None,
            field_resolver=execution.resolve,
            hide_suggestions=self._hides_names,
        )
        try:
            events = tuple(execution.list_events())
        except orjson.JSONEncodeError:
            # Only in scalars of the schema's author; the response holds the same value.
            return _refuse(GraphQLError("The mutation's result cannot be written as JSON.", operation))
        response = dict(result.formatted)
        if access is not None and result.errors:
            response["errors"] = [_format_error(error) for error in result.errors]
        return MutationResult(response, events)

    def _read(self, query: str) -> Document | Errors:
        document: Document | Errors | None = self._documents.get(query)
        if document is None:
            document = self._reader.read(query)
            if isinstance(document, Document):
                self._documents.put(query, document, len(query))
        return document

    def _build_value(self, field: GraphQLField, arguments: dict[str, Any]) -> Any:
        value = self._annotate(field.type, _choose_input(field, arguments))
        type_ = get_named_type(field.type)
        items = value if isinstance(value, list) else [value]
        for item in items:
            if isinstance(item, dict):
                runtime_type = self._schema.get_type(item.get(TYPENAME, type_.name))
                if isinstance(runtime_type, GraphQLObjectType):
                    self._fill_in(runtime_type, item)
        return value

    def _fill_in(self, type_: GraphQLObjectType, value: dict[str, Any]) -> None:
        types = {name: field.type for name, field in type_.fields.items()}
        name, id_type = _GENERATED_ID
        if value.get(name) is None and str(types.get(name)) == id_type:
            value[name] = self._new_id()
        missing = [
            name
            for name in _TIMES
            if name in types and value.get(name) is None and get_named_type(types[name]).name == "AWSDateTime"
        ]
        if missing:
            value.update(dict.fromkeys(missing, self._now()))

    def _annotate(self, type_: GraphQLOutputType, value: Any) -> Any:
        """A copy of the value, in which `__typename` tells the type where it can be one of several.

        An input cannot tell it itself, since GraphQL reserves such names: it is the only type that has all fields
        of the value. Without one, executing gives graphql-core's error.
        """
        nullable = get_nullable_type(type_)
        if isinstance(value, list) and is_list_type(nullable):
            return [self._annotate(nullable.of_type, item) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(nullable, GraphQLInterfaceType | GraphQLUnionType):
            possible = [
                each for each in self._schema.get_possible_types(nullable) if value.keys() <= each.fields.keys()
            ]
            if len(possible) != 1:
                return value
            return self._annotate(possible[0], value) | {TYPENAME: possible[0].name}
        if not isinstance(nullable, GraphQLObjectType):
            return value
        fields = nullable.fields
        return {
            name: self._annotate(fields[name].type, item) if name in fields else item for name, item in value.items()
        }


class _Execution:
    """One run of a document: resolves its fields, and remembers what the mutations of it resulted in."""

    def __init__(
        self, document: Document, build_value: Callable[[GraphQLField, dict[str, Any]], Any], access: Access | None
    ) -> None:
        self._document = document
        self._build_value = build_value
        self._access = access
        self._results: list[tuple[GraphQLResolveInfo[Any], Any]] = []

    # Positional only: an argument of the API may be called `source` or `info`.
    def resolve(self, source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        if self._access is not None and not self._access.may_use(info.parent_type.name, info.field_name):
            raise FieldDenied(info.parent_type.name, info.field_name)
        if info.parent_type is info.schema.mutation_type:
            value = self._build_value(info.parent_type.fields[info.field_name], arguments)
            self._results.append((info, value))
            return value
        return source.get(info.field_name) if isinstance(source, dict) else None

    def list_events(self) -> list[NewEvent]:
        """Raises `orjson.JSONEncodeError` for a value that is not JSON."""
        return [event for info, value in self._results if (event := self._build_event(info, value)) is not None]

    def _build_event(self, info: GraphQLResolveInfo[Any], value: Any) -> NewEvent | None:
        compiler = SelectionCompiler(info.schema, self._document.fragments, info.variable_values, is_by_name=True)
        try:
            selection = compiler.compile_field(info.parent_type, list(info.field_nodes))
        except GraphQLError:
            return None
        if self._access is not None:
            selection = close_places(selection, self._access.may_use)
        # Errors are in the response already; here they only make nulls.
        data, _ = Projection(info.schema, selection).complete(value)
        result = data[info.field_name] if data is not None else None
        return None if result is None else NewEvent(info.field_name, orjson.dumps(result))


def _format_error(error: GraphQLError) -> dict[str, Any]:
    """AppSync's entry for a field that is not open (as in captures), graphql-core's for everything else."""
    formatted: dict[str, Any] = {**error.formatted}
    if not isinstance(error.original_error, FieldDenied):
        return formatted
    locations = [{**location, "sourceName": None} for location in formatted.get("locations", ())]
    return {
        "path": formatted.get("path"),
        "data": None,
        "errorType": error.original_error.error_type,
        "errorInfo": None,
        "locations": locations,
        "message": error.message,
    }


def _choose_input(field: GraphQLField, arguments: dict[str, Any]) -> Any:
    named = field.args.get(INPUT_ARGUMENT)
    if named is not None and isinstance(get_nullable_type(named.type), GraphQLInputObjectType):
        return arguments.get(INPUT_ARGUMENT)
    if len(field.args) == 1:
        [(name, argument)] = field.args.items()
        result_type = get_nullable_type(field.type)
        is_object = isinstance(get_nullable_type(argument.type), GraphQLInputObjectType)
        if is_object or is_leaf_type(result_type) or is_list_type(result_type):
            return arguments.get(name)
    return arguments


def _refuse(*errors: GraphQLError) -> MutationResult:
    return MutationResult({"data": None, "errors": format_errors(errors)}, ())
