"""Resolves one field by its code: request, data source, response; pipelines. Knows no process and no kind of source.

Sources: AppSync developer guide, "JavaScript resolvers overview", "Runtime utilities" and "Extensions".

What ends a field's resolution: `util.error` in any stage, what a stage throws, and limits. A data source that fails
does not: the response handler finds it in `ctx.error` and says what it means; if it says nothing, its value is the
field's, and the client learns of no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.resolver_settings import NONE
from fanout.resolvers.context import ContextBuilder, make_json_safe
from fanout.resolvers.data_sources import DataSource, DataSourceError, InvalidRequest
from fanout.resolvers.definitions import Function, Module, Pipeline
from fanout.resolvers.log import ResolverLog
from fanout.resolvers.sandbox import ResourceLimitExceeded
from fanout.schema import NO_HEADERS, Invalidate, Invocation, Resolved, ResolverFault


class Processes(Protocol):
    """Where modules run."""

    async def call(self, module: str, handler: str, context: Mapping[str, Any]) -> dict[str, Any]:
        """See `Pool.call`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """What all resolvers of an API are run by.

    Args:
        processes: where the code runs.
        sources: data sources by name, all that the code names but NONE.
        environment: `ctx.env`.
        log: of what resolvers write, and of how they fail.
        metrics: `resolutions` and `data_source_failures` are counted.
    """

    processes: Processes
    sources: Mapping[str, DataSource]
    environment: Mapping[str, str]
    log: ResolverLog
    metrics: Metrics


class FieldResolver:
    """Resolves one field.

    Args:
        code: what it is resolved by.
        version: see `fanout.schema.Resolver`.
        means: shared with the resolvers of other fields.
    """

    __slots__ = ("_code", "_means", "_version")

    def __init__(self, code: Function | Pipeline, version: str, means: Means) -> None:
        self._code = code
        self._version = version
        self._means = means

    @property
    def version(self) -> str:
        """Equal for equal code and settings."""
        return self._version

    async def resolve(self, invocation: Invocation) -> Resolved:
        """Resolve the field once: one call of a process for each function on NONE, two for each on another source.

        Raises:
            ResolverFault: it said so, failed, or exceeded a limit.
            Unavailable: too many calls are waiting already.
        """
        resolution = _Resolution(self._means, ContextBuilder(invocation, self._means.environment))
        ended = "failure"
        try:
            if isinstance(self._code, Function):
                outcome = await resolution.run_function(self._code)
            else:
                outcome = await resolution.run_pipeline(self._code)
            ended = "value"
        except ResolverFault:
            ended = resolution.fault
            raise
        except Unavailable:
            ended = "unavailable"
            raise
        except asyncio.CancelledError:
            ended = "cancelled"
            raise
        finally:
            self._means.metrics.resolutions[ended] += 1
        return resolution.build_result(outcome.value)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a stage came to.

    Args:
        value: JSON.
        is_early: it ended by `runtime.earlyReturn`.
        skip_to: END or NEXT, if it said so.
    """

    value: Any
    is_early: bool = False
    skip_to: str | None = None


class _Resolution:
    """One resolution of a field: what is passed on from stage to stage, and collected."""

    def __init__(self, means: Means, contexts: ContextBuilder) -> None:
        self.fault = "error"
        """How it failed, if it did: `error` (it said so), `failure` (it threw something), `limit`."""
        self._processes = means.processes
        self._sources = means.sources
        self._log = means.log
        self._metrics = means.metrics
        self._contexts = contexts
        self._stash: Mapping[str, Any] = {}
        self._errors: list[ResolverFault] = []
        self._filter: object = None
        self._invalidation_filter: object = None
        self._invalidations: list[Invalidate] = []
        self._headers: dict[str, str] = {}

    async def run_function(self, function: Function, previous: Mapping[str, Any] | None = None) -> _Outcome:
        """Request, data source, response; an early return of the request skips the other two."""
        if function.data_source == NONE:
            return await self._call(function.module, "unit", previous)
        asked = await self._call(function.module, "request", previous)
        if asked.is_early:
            return asked
        fetched = await self._fetch(function, asked.value)
        return await self._call(function.module, "response", previous, fetched)

    async def run_pipeline(self, pipeline: Pipeline) -> _Outcome:
        """Before, functions, after. An early return skips the rest of its function, or with END all to `after`.

        In `before` END is what is meant where nothing is said; everywhere else NEXT.
        """
        outcome = _Outcome(None)
        ends = False
        if pipeline.before:
            outcome = await self._call(pipeline.before, "request", None)
            ends = outcome.is_early and outcome.skip_to != "NEXT"
        for function in () if ends else pipeline.functions:
            outcome = await self.run_function(function, {"result": outcome.value})
            if outcome.is_early and outcome.skip_to == "END":
                break
        if pipeline.after is None:
            return outcome
        return await self._call(pipeline.after, "response", {"result": outcome.value}, {"result": outcome.value})

    def build_result(self, value: Any) -> Resolved:
        """All that was collected, with the value."""
        return Resolved(
            value,
            errors=tuple(self._errors),
            filter=self._filter,
            invalidation_filter=self._invalidation_filter,
            invalidations=tuple(self._invalidations),
            headers=self._headers,
        )

    async def _fetch(self, function: Function, request: Any) -> dict[str, Any]:
        try:
            return {"result": await self._sources[function.data_source].invoke(request)}
        except DataSourceError as error:
            self._metrics.data_source_failures[function.data_source] += 1
            self._log.note_source(function.module.name, function.data_source, error)
            return {"result": None, "error": {"message": error.message, "type": error.type}}
        except InvalidRequest as error:
            raise self._fail(str(error), "BadRequest") from None

    async def _call(
        self,
        module: Module,
        handler: str,
        previous: Mapping[str, Any] | None,
        fetched: Mapping[str, Any] | None = None,
    ) -> _Outcome:
        context = self._contexts.build(
            stash=self._stash,
            wants_selection=module.mentions_selection,
            previous=previous,
            fetched=fetched,
            errors=[{"message": error.message, "type": error.error_type} for error in self._errors],
        )
        try:
            envelope = await self._run(module.name, handler, context)
        except ResourceLimitExceeded as error:
            self.fault = "limit"
            self._log.note_failure(module, str(error))
            raise self._fail(f"The resolver exceeded its {error.resource} limit.", "Code") from None
        self._log.note_lines(module, envelope.get("logs") or ())
        self._errors += [_read_error(each) for each in envelope.get("errors") or ()]
        extensions = envelope.get("extensions") or {}
        # Those stand though the field fails, as an error that was appended does.
        self._headers |= extensions.get("responseHeaders", {})
        if "failure" in envelope:
            self.fault = "failure"
            self._log.note_failure(module, envelope["failure"], envelope.get("stack", ""))
            raise self._fail("Runtime Error", "Code")
        if "error" in envelope:
            raise _read_error(envelope["error"], tuple(self._errors), self._headers)
        stash = envelope.get("stash")
        self._stash = stash if isinstance(stash, dict) else {}
        self._collect(extensions)
        return _Outcome(envelope.get("value"), "early" in envelope, envelope.get("early"))

    async def _run(self, module: str, handler: str, context: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._processes.call(module, handler, context)
        except orjson.JSONEncodeError:
            pass  # looked at only then: hardly any request holds what cannot be written
        try:
            return await self._processes.call(module, handler, make_json_safe(context))
        except (orjson.JSONEncodeError, RecursionError):
            raise self._fail("What the resolver is given is nested too deeply.", "BadRequest") from None

    def _collect(self, extensions: Mapping[str, Any]) -> None:
        self._filter = extensions.get("filter", self._filter)
        self._invalidation_filter = extensions.get("invalidationFilter", self._invalidation_filter)
        self._invalidations += [
            Invalidate(wish["subscriptionField"], wish["payload"]) for wish in extensions.get("invalidations", ())
        ]

    def _fail(self, message: str, error_type: str) -> ResolverFault:
        return ResolverFault(message, error_type=error_type, appended=tuple(self._errors), headers=self._headers)


def _read_error(
    error: Mapping[str, Any], appended: tuple[ResolverFault, ...] = (), headers: Mapping[str, str] = NO_HEADERS
) -> ResolverFault:
    """A described error of the library, see `host.js`."""
    return ResolverFault(
        error.get("message") or "",
        error_type=error.get("type"),
        data=error.get("data"),
        error_info=error.get("info"),
        appended=appended,
        headers=headers,
    )
