"""The calls of resolvers in one execution: what goes into each, their limits, and what is told when one fails.

Knows graphql-core's fields and the protocol `Resolver`; not how a document is executed, and nothing that resolves.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Final

import orjson
from graphql import (
    GraphQLError,
    GraphQLResolveInfo,
    OperationType,
)

from fanout.errors import Unavailable
from fanout.execution.field_errors import FieldError
from fanout.execution.mutation_events import Box, NestedValues, box_values
from fanout.schema.access import Access
from fanout.schema.documents import Document
from fanout.schema.json_arguments import JsonArguments
from fanout.schema.projection import Projection
from fanout.schema.resolving import Caller, Invalidate, Invocation, Resolved, Resolver, ResolverFault, can_be_written
from fanout.schema.selection import SelectionCompiler, close_places
from fanout.schema.selection_text import describe_selection

_logger = logging.getLogger("fanout.execution")

MAX_INVALIDATIONS: Final = 5
"""Distinct invalidations of one request; AppSync's limit."""

Begin = Callable[[], Awaitable[Resolved]]
Wait = Callable[[Begin], Awaitable[Resolved]]
"""Begins a call and waits for it; raises TimeoutError, without having begun it, when the request's time is over, and
when it is over before the call ends, which is then cancelled."""


async def wait_for_ever(begin: Begin) -> Resolved:
    """A `Wait` without an end."""
    return await begin()


class Later:
    """An awaitable that begins when it is awaited, for graphql-core to hold.

    What stands beside a null that goes up is left behind before it has begun. A coroutine would be warned of then.

    Args:
        begin: called once for each time that it is awaited.
    """

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, None, Any]:
        return self._begin().__await__()


class FieldCalls:
    """Calls resolvers for one execution, and keeps what they came to beside their values.

    Args:
        document: what is executed.
        caller: who asks.
        variables: as given.
        json: the arguments of which fields hold AWSJSON.
        limit: calls of the whole request.
        wait: begins each call, see `Wait`.
        access: which fields are open to who asks; None: all.
    """

    def __init__(
        self,
        document: Document,
        caller: Caller,
        variables: Mapping[str, Any],
        json: JsonArguments,
        limit: int,
        wait: Wait,
        access: Access | None = None,
    ) -> None:
        self._access = access
        self._document = document
        self._caller = caller
        self._variables = variables
        self._json = json
        self._limit = limit
        self._wait = wait
        self._made = 0
        self._is_over = False
        self._invalidations: dict[tuple[str, bytes], Invalidate] = {}
        self.nested = NestedValues()
        self.errors: list[GraphQLError] = []
        """Those that resolvers have added beside their values."""
        self.headers: dict[str, str] = {}
        """Of the response, as resolvers ask for them; where two set one, the later."""

    @property
    def invalidations(self) -> tuple[Invalidate, ...]:
        """What resolvers of fields that did not fail want invalidated, each once."""
        return tuple(self._invalidations.values())

    def close(self) -> None:
        """The execution is over: what graphql-core has left behind, beside a null that went up, is not begun."""
        self._is_over = True

    def call(
        self, resolver: Resolver, source: Any, info: GraphQLResolveInfo[Any], arguments: dict[str, Any]
    ) -> Awaitable[Any]:
        """Resolve a field when it is awaited; to be called in the order of the document.

        Raises:
            FieldError: by its awaitable.
        """
        self._made += 1
        is_excess = self._made > self._limit
        is_nested_in_mutation = (
            info.operation.operation is OperationType.MUTATION and info.parent_type is not info.schema.mutation_type
        )
        slot = self.nested.reserve(source, info.field_name) if is_nested_in_mutation else [None]
        seen = source.value if isinstance(source, Box) else source
        return Later(partial(self._resolve, resolver, seen, info, arguments, slot, is_excess=is_excess))

    def keep(self, value: Any, source: Any, info: GraphQLResolveInfo[Any]) -> Any:
        """The value of a field without a resolver as it is to be completed; in the order of the document."""
        if info.operation.operation is not OperationType.MUTATION or info.field_nodes[0].selection_set is None:
            return value
        boxed = box_values(value)
        if boxed is not value:
            self.nested.reserve(source, info.field_name)[0] = boxed
        return boxed

    async def _resolve(
        self,
        resolver: Resolver,
        source: Any,
        info: GraphQLResolveInfo[Any],
        arguments: dict[str, Any],
        slot: list[Any],
        *,
        is_excess: bool,
    ) -> Any:
        # Raised here and not where it is called, so that graphql-core ends the calls beside it if need be.
        if is_excess:
            raise FieldError("Resolver invocation limit reached.", "ResolverExecutionLimitReached")
        if self._is_over:
            raise FieldError("The execution is over.", "ExecutionTimeout")  # nobody reads it

        def begin() -> Awaitable[Resolved]:
            return resolver.resolve(self._describe_call(source, info, arguments))

        resolved = await self._wait_for(begin, info)
        self.errors += [self._locate(fault, info) for fault in resolved.errors]
        self._take_invalidations(info, resolved.invalidations)
        self.headers.update(resolved.headers)
        is_boxed = info.operation.operation is OperationType.MUTATION and info.field_nodes[0].selection_set is not None
        value = slot[0] = box_values(resolved.value) if is_boxed else resolved.value
        return value

    def _describe_call(self, source: Any, info: GraphQLResolveInfo[Any], arguments: dict[str, Any]) -> Invocation:
        return Invocation(
            info.parent_type.name,
            info.field_name,
            self._json.parse(info.parent_type, info.field_name, arguments),
            source,
            self._caller,
            self._variables,
            partial(describe_selection, info.field_nodes, self._document.fragments, info.variable_values),
        )

    async def _wait_for(self, begin: Begin, info: GraphQLResolveInfo[Any]) -> Resolved:
        try:
            return await self._wait(begin)
        except ResolverFault as fault:
            self.errors += [self._locate(appended, info) for appended in fault.appended]
            self.headers.update(fault.headers)
            raise self._describe(fault, info) from None
        except Unavailable:
            message = "The resolver could not be called now, there are too many calls: send the request again later."
            raise FieldError(message, "ServiceUnavailableException") from None
        except TimeoutError:
            raise FieldError("Execution timed out.", "ExecutionTimeout") from None
        except Exception:  # a defect of ours, which must not tell the client about us
            _logger.exception("%s.%s could not be resolved", info.parent_type.name, info.field_name)
            raise FieldError("Internal error.", "InternalFailure") from None

    def _take_invalidations(self, info: GraphQLResolveInfo[Any], wishes: Iterable[Invalidate]) -> None:
        if not wishes:
            return
        if info.operation.operation is not OperationType.MUTATION:
            raise FieldError("Only mutations can invalidate subscriptions.", "BadRequest")
        if not all(can_be_written(wish.payload) for wish in wishes):
            raise FieldError("The payload of an invalidation is nested too deeply.", "BadRequest")
        taken = self._invalidations | {
            (wish.field, orjson.dumps(wish.payload, option=orjson.OPT_SORT_KEYS)): wish for wish in wishes
        }
        if len(taken) > MAX_INVALIDATIONS:
            message = f"A request can invalidate subscriptions at most {MAX_INVALIDATIONS} times."
            raise FieldError(message, "BadRequest")
        self._invalidations = taken

    def _locate(self, fault: ResolverFault, info: GraphQLResolveInfo[Any]) -> GraphQLError:
        error = self._describe(fault, info)
        return GraphQLError(error.message, info.field_nodes, path=info.path.as_list(), original_error=error)

    def _describe(self, fault: ResolverFault, info: GraphQLResolveInfo[Any]) -> FieldError:
        data, error_info = (
            value if can_be_written(value) else None for value in (self._cut(fault.data, info), fault.error_info)
        )
        return FieldError(fault.message, fault.error_type, data, error_info)

    def _cut(self, data: Any, info: GraphQLResolveInfo[Any]) -> Any:
        """What the client has selected of it and may see, as it would be if it were the field's value."""
        if data is None:
            return None
        compiler = SelectionCompiler(info.schema, self._document.fragments, info.variable_values)
        try:
            selection = compiler.compile_field(info.parent_type, list(info.field_nodes))
        except GraphQLError:
            return None
        if self._access is not None:
            selection = close_places(selection, self._access.may_use)
        completed, _ = Projection(info.schema, selection).complete(data)
        return None if completed is None else completed[selection.fields[0].response_key]
