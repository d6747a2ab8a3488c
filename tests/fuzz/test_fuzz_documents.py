"""Any GraphQL document, variables and filter: a plan that works on any event, or a client fault. No wire around it."""

from __future__ import annotations

import asyncio
import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import ClientFault
from fanout.execution import ExecutionResult, Executor
from fanout.model import Identity, SubscribeRequest
from fanout.planning import SubscriptionPlanner
from fanout.schema import Invocation, ResolverFault, load_chat_schema
from fanout.settings import Settings
from filters import FilterError, compile_filter, parse_filter, to_subscription_filter
from tests.fanout.protocol.strategies import json_values
from tests.fanout.schema.resolvers import Answering
from tests.fuzz.effort import fuzzed
from tests.fuzz.strategies import documents, event_data, filters, subscription_documents, variables
from tests.fuzz.witness import nothing_heard


def _refuse(invocation: Invocation) -> None:
    raise ResolverFault("no", data={"id": invocation.arguments}, error_info=invocation.variables)


SCHEMA = load_chat_schema()
SETTINGS = Settings()
PLANNER = SubscriptionPlanner(SCHEMA, SETTINGS)
EXECUTOR = Executor(SCHEMA, SETTINGS)
MESSAGE = {"id": "1", "roomId": "r", "content": "c", "author": "a", "createdAt": "2026-01-01T00:00:00Z"}
RESOLVED = Executor(
    SCHEMA,
    SETTINGS,
    {
        ("Mutation", "createMessage"): Answering(lambda call: dict(MESSAGE)),
        ("Mutation", "deleteMessage"): Answering(lambda call: call.describe_selection().names),
        ("Message", "content"): Answering(lambda call: call.source["roomId"] * 2),
        ("Message", "author"): Answering(_refuse),
    },
)


def check_errors(fault: ClientFault) -> None:
    """Whatever is refused, there is something to tell, and it can be written."""
    assert all(error["message"] and error["errorType"] for error in fault.errors)
    orjson.dumps(fault.errors)


names = st.sampled_from([None, "S", "M", "nope"])
variable_sets = variables.filter(lambda value: isinstance(value, dict))


@fuzzed
@given(subscription_documents() | documents, names, variable_sets, st.lists(event_data, min_size=1, max_size=3))
def test_any_subscription_is_planned_or_refused(query: str, name: str | None, given_: dict, events: list) -> None:
    with nothing_heard():
        try:
            plan = PLANNER.plan(SubscribeRequest(query, name, given_, {}), Identity("API_KEY"))
        except ClientFault as fault:
            check_errors(fault)
            return
        matches = compile_filter(plan.filter)
        for data in events:
            matches(data)
            payload = orjson.loads(plan.projection.project(data))
            assert set(payload) <= {"data", "errors"}


@fuzzed
@given(documents, names, variable_sets)
def test_any_document_is_executed_or_refused(query: str, name: str | None, given_: dict) -> None:
    with nothing_heard():
        result = EXECUTOR.execute(query, given_, name)
        orjson.dumps(result.response)
        assert "data" in result.response or result.response["errors"]
        for event in result.events:
            orjson.loads(event.data)


@fuzzed
@given(documents, names, variable_sets)
def test_any_document_is_executed_by_resolvers_or_refused(query: str, name: str | None, given_: dict) -> None:
    async def execute() -> ExecutionResult:
        done = RESOLVED.execute(query, given_, name)
        return done if isinstance(done, ExecutionResult) else await done

    with nothing_heard() as witness, asyncio.Runner() as runner:
        witness.hear_loop(runner.get_loop())
        result = runner.run(execute())
        orjson.dumps(result.response)
        assert "data" in result.response or result.response["errors"]
        for event in result.events:
            orjson.loads(event.data)


@fuzzed
@given(filters | filters.map(lambda value: json.dumps(value)) | json_values, event_data)
def test_any_filter_is_compiled_or_refused(value: object, data: object) -> None:
    try:
        expanded = to_subscription_filter(value)
        if expanded["filterGroup"]:
            compile_filter(parse_filter(expanded))(data)
    except FilterError:
        pass  # and nothing else
