"""The stages of a resolver, by code as AppSync's users write it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.resolver_settings import NONE
from fanout.resolvers.data_sources import DataSourceError, InvalidRequest
from fanout.resolvers.definitions import Function, Module, Pipeline, ResolverCode
from fanout.resolvers.log import ResolverLog
from fanout.resolvers.resolver import FieldResolver, Means
from fanout.resolvers.rewriter import rewrite_module
from fanout.resolvers.sandbox import Resource, ResourceLimitExceeded
from fanout.schema import Invalidate, Invocation, Resolved, ResolverFault
from tests.fanout.resolvers.written import Inline, invoke

IMPORT = "import { util, extensions, runtime } from '@aws-appsync/utils';\n"


class Orders:
    """A data source that the test can make fail."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.failure: Exception | None = None

    async def invoke(self, request: Any) -> Any:
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return {"statusCode": 200, "body": "stored"}


class Resolving:
    """A resolver of Mutation.create."""

    def __init__(self, code: Function | Pipeline) -> None:
        self.processes = Inline(ResolverCode({("Mutation", "create"): code}))
        self.orders = Orders()
        self.metrics = Metrics()
        self.resolver = FieldResolver(
            code, "v1", Means(self.processes, {"orders": self.orders}, {"TABLE": "t"}, ResolverLog(), self.metrics)
        )

    async def resolve(self, invocation: Invocation | None = None) -> Resolved:
        return await self.resolver.resolve(invocation or invoke({"id": "a"}))

    @property
    def called(self) -> list[str]:
        return [f"{name.removesuffix('.js').rpartition('/')[2]} {handler}" for name, handler, _ in self.processes.calls]


def read(name: str, text: str) -> Module:
    return Module(f"{name}.js", rewrite_module(IMPORT + text, name), mentions_selection="selectionSet" in text)


def unit(request: str, response: str = "return ctx.result;", source: str = NONE) -> Resolving:
    return Resolving(Function(read("Mutation.create", function(request, response)), source))


def pipeline(texts: dict[str, str], functions: dict[str, str]) -> Resolving:
    """Of modules by name; functions in order, with their data sources."""
    modules = {name: read(f"Mutation.create/{name}", text) for name, text in texts.items()}
    both = modules.get("resolver")
    before, after = modules.get("before", both), modules.get("after", both)
    return Resolving(Pipeline(before, tuple(Function(modules[each], on) for each, on in functions.items()), after))


def function(request: str, response: str = "return ctx.result;") -> str:
    return f"export function request(ctx) {{ {request} }}\nexport function response(ctx) {{ {response} }}"


async def test_on_none_both_handlers_are_one_call() -> None:
    resolving = unit("return { payload: { id: ctx.args.id, table: ctx.env.TABLE } };")
    assert (await resolving.resolve()).value == {"id": "a", "table": "t"}
    assert resolving.called == ["Mutation.create unit"]
    assert resolving.resolver.version == "v1"


async def test_a_data_source_stands_between_the_handlers() -> None:
    resolving = unit(
        "ctx.stash.seen = 1; return { method: 'GET' };", "return [ctx.result.body, ctx.stash.seen];", "orders"
    )
    assert (await resolving.resolve()).value == ["stored", 1]
    assert resolving.called == ["Mutation.create request", "Mutation.create response"]
    assert resolving.orders.asked == [{"method": "GET"}]


async def test_what_fails_a_data_source_is_the_response_handlers_to_judge() -> None:
    forgiving = unit("return {};", "return ctx.error ? ctx.error.type : ctx.result;", "orders")
    forgiving.orders.failure = DataSourceError("It is down.", "DataSource:Unavailable")
    resolved = await forgiving.resolve()
    assert (resolved.value, resolved.errors) == ("DataSource:Unavailable", ())
    strict = unit("return {};", "if (ctx.error) util.error(ctx.error.message, ctx.error.type, ctx.result);", "orders")
    strict.orders.failure = forgiving.orders.failure
    with pytest.raises(ResolverFault, match="It is down") as caught:
        await strict.resolve()
    assert caught.value.error_type == "DataSource:Unavailable"


async def test_a_request_that_cannot_be_made_is_the_fields_error() -> None:
    resolving = unit("return {};", "return 1;", "orders")
    resolving.orders.failure = InvalidRequest("There is no method.")
    with pytest.raises(ResolverFault, match=r"There is no method\."):
        await resolving.resolve()
    assert resolving.called == ["Mutation.create request"]


async def test_errors_are_told_with_all_that_was_added_before() -> None:
    adding = unit("util.appendError('First', 'A', { id: 1 }, [2]); return { payload: 5 };")
    resolved = await adding.resolve()
    assert resolved.value == 5
    seen = unit("util.appendError('First', 'A'); return {};", "return ctx.outErrors;")
    assert (await seen.resolve()).value == [{"message": "First", "type": "A"}]
    (error,) = resolved.errors
    assert (error.message, error.error_type, error.data, error.error_info) == ("First", "A", {"id": 1}, [2])
    ending = unit("util.appendError('First', 'A'); return {};", "util.error('Second', 'B', 3, 4);", "orders")
    with pytest.raises(ResolverFault, match="Second") as caught:
        await ending.resolve()
    assert (caught.value.error_type, caught.value.data, caught.value.error_info) == ("B", 3, 4)
    assert [each.message for each in caught.value.appended] == ["First"]
    assert ending.processes.calls[1][2]["outErrors"] == [{"message": "First", "type": "A"}]


@pytest.mark.parametrize("ending", ["util.error('No.');", "ctx.nothing.here;"])
async def test_headers_of_the_response_stand_though_the_field_fails(ending: str) -> None:
    asking = "util.http.addResponseHeader('x-a', 1); return {};"
    resolving = unit(asking, f"util.http.addResponseHeader('x-b', 2); {ending}", "orders")
    with pytest.raises(ResolverFault) as caught:
        await resolving.resolve()
    assert caught.value.headers == {"x-a": "1", "x-b": "2"}


async def test_what_is_thrown_is_told_to_the_log_and_not_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    resolving = unit("return { payload: 1 };", "\n  return ctx.nothing.here;")
    with pytest.raises(ResolverFault, match=r"^Runtime Error$") as caught:
        await resolving.resolve()
    assert caught.value.error_type == "Code"
    assert "Mutation.create.js:4:" in caplog.text
    assert "cannot read property 'here' of undefined" in caplog.text


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        (Resource.TIME, "The resolver exceeded its time limit."),
        (Resource.MEMORY, "The resolver exceeded its memory limit."),
        (Resource.STACK, "The resolver exceeded its stack limit."),
    ],
)
async def test_limits_are_named(resource: Resource, message: str, caplog: pytest.LogCaptureFixture) -> None:
    resolving = unit("return {};")

    async def call(*_: object) -> dict[str, Any]:
        raise ResourceLimitExceeded(resource)

    resolving.processes.call = call  # type: ignore[method-assign]
    with pytest.raises(ResolverFault) as caught:
        await resolving.resolve()
    assert (caught.value.message, caught.value.error_type) == (message, "Code")
    assert f"Mutation.create.js: it exceeded its {resource} limit" in caplog.text


async def test_what_a_resolver_writes_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await unit("console.log('seen', { id: 1 }); return {};").resolve()
    assert 'Mutation.create.js: seen {"id":1}' in caplog.text


async def test_extensions_are_collected() -> None:
    resolving = unit(
        "extensions.setSubscriptionFilter({ a: 1 }); extensions.setSubscriptionInvalidationFilter({ b: 2 });return {};",
        "extensions.invalidateSubscriptions({ subscriptionField: 'onCreate', payload: { id: 1 } });"
        "extensions.invalidateSubscriptions({ subscriptionField: 'onCreate', payload: { id: 2 } }); return null;",
        "orders",
    )
    resolved = await resolving.resolve()
    assert (resolved.filter, resolved.invalidation_filter) == ({"a": 1}, {"b": 2})
    assert resolved.invalidations == (Invalidate("onCreate", {"id": 1}), Invalidate("onCreate", {"id": 2}))


async def test_headers_of_the_response_are_collected_over_all_stages() -> None:
    resolving = pipeline(
        {
            "before": "export function request() { util.http.addResponseHeader('x-a', 1); }",
            "store": function("util.http.addResponseHeaders({ 'x-a': 2, 'x-b': 3 });"),
        },
        {"store": NONE},
    )
    assert (await resolving.resolve()).headers == {"x-a": "2", "x-b": "3"}


async def test_a_pipeline_passes_results_and_stash_on() -> None:
    resolving = pipeline(
        {
            "resolver": function(
                "ctx.stash.order = ['before']; return 'b';", "return [ctx.prev.result, ctx.stash.order];"
            ),
            "one": function("ctx.stash.order.push(ctx.prev.result); return { payload: 1 };"),
            "two": function("ctx.stash.order.push(ctx.prev.result); return {};", "return ctx.result.body;"),
        },
        {"one": NONE, "two": "orders"},
    )
    assert (await resolving.resolve()).value == ["stored", ["before", "b", 1]]
    assert resolving.called == ["resolver request", "one unit", "two request", "two response", "resolver response"]


async def test_without_after_the_last_function_is_the_result() -> None:
    resolving = pipeline({"one": function("return { payload: 7 };")}, {"one": NONE})
    assert (await resolving.resolve()).value == 7


RETURN = "runtime.earlyReturn('early'{options});"


@pytest.mark.parametrize(
    ("where", "options", "called"),
    [
        ("before", "", ["before request", "after response"]),
        ("before", ", { skipTo: 'END' }", ["before request", "after response"]),
        (
            "before",
            ", { skipTo: 'NEXT' }",
            ["before request", "one request", "one response", "two unit", "after response"],
        ),
        ("one", "", ["before request", "one request", "two unit", "after response"]),
        ("one", ", { skipTo: 'NEXT' }", ["before request", "one request", "two unit", "after response"]),
        ("one", ", { skipTo: 'END' }", ["before request", "one request", "after response"]),
        ("two", "", ["before request", "one request", "one response", "two unit", "after response"]),
    ],
)
async def test_an_early_return_skips_what_it_says(where: str, options: str, called: list[str]) -> None:
    early = RETURN.replace("{options}", options)
    resolving = pipeline(
        {
            "before": f"export function request(ctx) {{ {early if where == 'before' else 'return 0;'} }}",
            "after": "export function response(ctx) { return ctx.prev.result; }",
            "one": function(early if where == "one" else "return {};", "return 1;"),
            "two": function(early if where == "two" else "return { payload: ctx.prev.result };", "return ctx.result;"),
        },
        {"one": "orders", "two": NONE},
    )
    resolved = await resolving.resolve()
    assert resolving.called == called
    assert resolved.value == (1 if (where, options) == ("before", ", { skipTo: 'NEXT' }") else "early")


async def test_an_early_return_of_a_unit_resolver_is_its_result() -> None:
    resolving = unit("runtime.earlyReturn({ id: 1 });", "return 'never';", "orders")
    assert (await resolving.resolve()).value == {"id": 1}
    assert not resolving.orders.asked


async def test_an_error_in_any_stage_ends_the_field() -> None:
    modules = {
        "before": "export function request(ctx) { return 0; }",
        "one": function("return {};", "util.error('Stop', 'Here');"),
        "two": function("return {};"),
        "after": "export function response(ctx) { return 1; }",
    }
    resolving = pipeline(modules, {"one": NONE, "two": NONE})
    with pytest.raises(ResolverFault, match="Stop"):
        await resolving.resolve()
    assert resolving.called == ["before request", "one unit"]


async def test_the_selection_goes_to_modules_that_name_it() -> None:
    resolving = pipeline(
        {
            "one": function("return { payload: ctx.info.selectionSetList };"),
            "two": function("return { payload: ctx.prev };"),
        },
        {"one": NONE, "two": NONE},
    )
    assert (await resolving.resolve()).value == {"result": ["id", "author", "author/name"]}
    infos = [context["info"] for _, _, context in resolving.processes.calls]
    assert ["selectionSetList" in info for info in infos] == [True, False]


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


async def test_what_no_json_can_hold_is_given_as_javascript_has_it() -> None:
    resolving = unit("return { payload: ctx.args.given };")
    for given, seen in (
        (10**30, 1e30),
        ("a\ud800", "a\ufffd"),
        ({"deep": [-(10**30)]}, {"deep": [-1e30]}),
        (10**400, None),
    ):
        assert (await resolving.resolve(invoke({"given": given}))).value == seen
    assert (await resolving.resolve(invoke({"given": nest(200)}))).value == nest(200)


@pytest.mark.parametrize("levels", [300, 5000])
async def test_what_is_nested_too_deeply_is_the_clients_mistake(levels: int) -> None:
    with pytest.raises(ResolverFault, match="nested too deeply") as caught:
        await unit("return {};").resolve(invoke({"given": nest(levels)}))
    assert caught.value.error_type == "BadRequest"


async def test_what_came_of_it_is_counted() -> None:
    resolving = unit("return {};", "if (ctx.error) util.error('x'); return ctx.nothing.here;", "orders")
    for failure in (None, DataSourceError("It is down.", "x")):
        resolving.orders.failure = failure
        with pytest.raises(ResolverFault):
            await resolving.resolve()
    failures: list[tuple[str, BaseException]] = [
        ("limit", ResourceLimitExceeded(Resource.TIME)),
        ("unavailable", Unavailable("too many")),
        ("cancelled", asyncio.CancelledError()),
    ]
    for _, raised in failures:

        async def call(*_: object, raised: BaseException = raised) -> dict[str, Any]:
            raise raised

        resolving.processes.call = call  # type: ignore[method-assign]
        with pytest.raises((ResolverFault, Unavailable, asyncio.CancelledError)):
            await resolving.resolve()
    assert resolving.metrics.resolutions == {"failure": 1, "error": 1} | {name: 1 for name, _ in failures}
    assert resolving.metrics.data_source_failures == {"orders": 1}
    fine = unit("return {};")
    await fine.resolve()
    assert fine.metrics.resolutions == {"value": 1}
