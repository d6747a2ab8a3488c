"""Executing documents over HTTP: queries, introspection, and mutations with the events they make. Knows no bus.

A field that has a resolver is resolved by it; every other takes its value from its parent's, by name. Of root fields
without one, queries are null, and mutations result in their input (`mutations`). Values are completed by graphql-core:
fields of a query and nested ones are resolved together, fields of a mutation one after the other.

A document in which no field has a resolver is executed without waiting, and its responses and errors are those of
graphql-core, word for word. In all others errors have the form that AppSync gives them (`field_errors`).

A field that is not open to who asks is null, in the response and in the event, with AppSync's error; nulls where none
can be go up as always. A field that is not open is not resolved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import graphql.execution
import orjson
from graphql import (
    GraphQLError,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    OperationType,
    execute_sync,
    specified_rules,
)
from graphql.execution import experimental_execute_incrementally

from fanout.errors import ConfigurationError, FieldDenied
from fanout.execution.field_calls import FieldCalls, Later, Wait, wait_for_ever
from fanout.execution.field_errors import format_error, order_errors, reword_null
from fanout.execution.mutation_events import EventBuilder, NestedValues
from fanout.execution.mutations import MutationDefaults, make_id, read_clock
from fanout.execution.resolved_operations import find_resolved_operations
from fanout.execution.slices import slice_list
from fanout.model import AuthMode, Identity, NewEvent
from fanout.schema.access import Access
from fanout.schema.documents import Document, DocumentReader, Errors, find_operation
from fanout.schema.json_arguments import JsonArguments
from fanout.schema.lru import Lru
from fanout.schema.resolving import Caller, Invalidate, Resolvers
from fanout.schema.sdl import ApiSchema
from fanout.schema.wording import format_errors
from fanout.settings import Settings

_MAX_DOCUMENTS, _MAX_DOCUMENTS_WEIGHT = 1024, 200_000
_NOBODY = Caller(Identity(AuthMode.API_KEY))
_NO_RESOLVERS: Resolvers = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What executing a document came to.

    Args:
        response: `data` and `errors`, to be sent as JSON.
        events: to be published before the response is sent; one per mutation field with a result, in order.
        invalidations: to be announced when the events are published; distinct, in order.
        headers: of the response, as resolvers ask for them; not checked.
    """

    response: dict[str, Any]
    events: tuple[NewEvent, ...]
    invalidations: tuple[Invalidate, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Known:
    """A document, and the names of its operations in which a field has a resolver; "" is the one without a name."""

    document: Document
    resolved: frozenset[str]


class Executor:
    """Executes documents for one schema. Bounded in memory, whatever clients send.

    Args:
        schema: the API.
        settings: limits of documents and calls.
        resolvers: what resolves fields, by type and field.
        now: the present time in AWSDateTime's form.
        new_id: a new unique id.

    Raises:
        ConfigurationError: settings of a mutation that the schema does not have.
    """

    def __init__(
        self,
        schema: ApiSchema,
        settings: Settings | None = None,
        resolvers: Resolvers = _NO_RESOLVERS,
        *,
        now: Callable[[], str] = read_clock,
        new_id: Callable[[], str] = make_id,
    ) -> None:
        settings = settings or Settings.model_validate({})
        for name in settings.mutations:
            if name not in schema.mutations:
                known = ", ".join(sorted(schema.mutations)) or "none"
                raise ConfigurationError(f"mutations.{name}: no such mutation field; the schema has {known}")
        self._schema = schema.graphql
        self._hides_names = not settings.introspection
        self._reader = DocumentReader(schema.graphql, settings, specified_rules)
        self._max_calls = settings.max_resolvers_per_request
        self._documents: Lru[str, _Known] = Lru(_MAX_DOCUMENTS, _MAX_DOCUMENTS_WEIGHT)
        self._resolvers = resolvers
        self._json = JsonArguments(schema.graphql, resolvers)
        self._defaults = MutationDefaults(schema.graphql, now, new_id)
        self._builder = EventBuilder(schema.graphql)

    def execute(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        operation_name: str | None = None,
        access: Access | None = None,
        caller: Caller = _NOBODY,
        wait: Wait = wait_for_ever,
    ) -> ExecutionResult | Awaitable[ExecutionResult]:
        """Execute one operation of a document; a client's mistakes are in the response.

        Args:
            query: the document.
            variables: JSON values by name.
            operation_name: which operation; None or empty where there is one only.
            access: which fields are open to who asks; None: all.
            caller: who asks, for resolvers.
            wait: begins and awaits each call of a resolver.

        Returns:
            The result at once where no field of the operation has a resolver.
        """
        known = self._read(query)
        if not isinstance(known, _Known):
            return _refuse(*known)
        operation = find_operation(known.document, operation_name)
        if isinstance(operation, GraphQLError):
            return _refuse(operation)
        if operation.operation is OperationType.SUBSCRIPTION:
            return _refuse(
                GraphQLError("Subscriptions are served over WebSocket: connect to this path with one.", operation)
            )
        given = dict(variables or {})
        name = operation.name.value if operation.name else ""
        if name in known.resolved:
            calls = FieldCalls(known.document, caller, given, self._json, self._max_calls, wait, access)
            run = _ResolvedRun(known.document, self._defaults, self._builder, access, self._resolvers, calls)
            return self._execute_resolved(run, operation, given)
        return self._execute_sync(_Run(known.document, self._defaults, self._builder, access), operation, given)

    def _execute_sync(
        self, run: _Run, operation: OperationDefinitionNode, variables: dict[str, Any]
    ) -> ExecutionResult:
        result = execute_sync(
            self._schema,
            run.document.node,
            variable_values=variables,
            operation_name=operation.name.value if operation.name else None,
            field_resolver=run.resolve,
            hide_suggestions=self._hides_names,
        )
        try:
            events = tuple(run.list_events())
        except orjson.JSONEncodeError:
            return _refuse_result(operation)
        response = dict(result.formatted)
        if run.access is not None and result.errors:
            response["errors"] = [format_error(error) for error in result.errors]
        return ExecutionResult(response, events)

    async def _execute_resolved(
        self, run: _ResolvedRun, operation: OperationDefinitionNode, variables: dict[str, Any]
    ) -> ExecutionResult:
        # graphql-core's `execute` would refuse schemas that define `@defer`; the plain executor passes over it.
        outcome = experimental_execute_incrementally(
            self._schema,
            run.document.node,
            variable_values=variables,
            operation_name=operation.name.value if operation.name else None,
            field_resolver=run.resolve,
            hide_suggestions=self._hides_names,
            executor_class=graphql.execution.Executor,
        )
        result = cast("graphql.execution.ExecutionResult", await outcome if isinstance(outcome, Awaitable) else outcome)
        run.calls.close()
        try:
            events = tuple(run.list_events())
        except orjson.JSONEncodeError:
            return _refuse_result(operation)
        response: dict[str, Any] = {"data": result.data}
        errors = order_errors(
            [*run.calls.errors, *(result.errors or ())], operation.selection_set, run.document.fragments
        )
        if errors:
            response["errors"] = [reword_null(self._schema, error) or format_error(error) for error in errors]
        return ExecutionResult(response, events, run.calls.invalidations, run.calls.headers)

    def _read(self, query: str) -> _Known | Errors:
        known: _Known | None = self._documents.get(query)
        if known is None:
            document = self._reader.read(query)
            if not isinstance(document, Document):
                return document
            known = _Known(document, find_resolved_operations(self._schema, self._resolvers, document))
            self._documents.put(query, known, len(query))
        return known


class _Run:
    """One run of a document: resolves its fields, and remembers what the mutations of it resulted in."""

    nested: NestedValues | None = None
    """What resolvers of nested fields have made."""

    def __init__(
        self, document: Document, defaults: MutationDefaults, builder: EventBuilder, access: Access | None
    ) -> None:
        self.document = document
        self.access = access
        self._defaults = defaults
        self._builder = builder
        self._results: list[tuple[GraphQLResolveInfo[Any], Any]] = []

    # Positional only: an argument of the API may be called `source` or `info`.
    def resolve(self, source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        if self.access is not None and not self.access.may_use(info.parent_type.name, info.field_name):
            raise FieldDenied(info.parent_type.name, info.field_name)
        if info.parent_type is info.schema.mutation_type:
            value = self._defaults.build_value(info.parent_type.fields[info.field_name], arguments)
            self._results.append((info, value))
            return value
        return source.get(info.field_name) if isinstance(source, dict) else None

    def list_events(self) -> list[NewEvent]:
        """Raises `orjson.JSONEncodeError` for a value that is not JSON."""
        events = (
            self._builder.build(info, value, self.document.fragments, self.access, self.nested)
            for info, value in self._results
        )
        return [event for event in events if event is not None]


class _ResolvedRun(_Run):
    """The same with resolvers."""

    def __init__(
        self,
        document: Document,
        defaults: MutationDefaults,
        builder: EventBuilder,
        access: Access | None,
        resolvers: Resolvers,
        calls: FieldCalls,
    ) -> None:
        super().__init__(document, defaults, builder, access)
        self.calls = calls
        self.nested = calls.nested
        self._resolvers = resolvers

    def resolve(self, source: Any, info: GraphQLResolveInfo[Any], /, **arguments: Any) -> Any:
        resolver = self._resolvers.get((info.parent_type.name, info.field_name))
        if resolver is None or (
            self.access is not None and not self.access.may_use(info.parent_type.name, info.field_name)
        ):
            value = super().resolve(source, info, **arguments)
            return slice_list(self.calls.keep(value, source, info))
        return Later(partial(self._take, info, self.calls.call(resolver, source, info, arguments)))

    async def _take(self, info: GraphQLResolveInfo[Any], resolving: Awaitable[Any]) -> Any:
        value = await resolving
        if info.parent_type is info.schema.mutation_type:
            self._results.append((info, value))
        return slice_list(value)


def _refuse_result(operation: OperationDefinitionNode) -> ExecutionResult:
    """Only for scalars of the schema's author; the response would hold the same value."""
    return _refuse(GraphQLError("The mutation's result cannot be written as JSON.", operation))


def _refuse(*errors: GraphQLError) -> ExecutionResult:
    return ExecutionResult({"data": None, "errors": format_errors(errors)}, ())
