"""Any GraphQL document, variables and filter: a plan that works on any event, or a client fault. No wire around it."""

from __future__ import annotations

import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import ClientFault
from fanout.model import Identity, SubscribeRequest
from fanout.schema import Executor, SubscriptionPlanner, load_chat_schema
from fanout.settings import Settings
from filters import FilterError, compile_filter, parse_filter, to_subscription_filter
from tests.fanout.protocol.strategies import json_values
from tests.fuzz.effort import fuzzed
from tests.fuzz.strategies import documents, event_data, filters, subscription_documents, variables
from tests.fuzz.witness import nothing_heard

SCHEMA = load_chat_schema()
SETTINGS = Settings()
PLANNER = SubscriptionPlanner(SCHEMA, SETTINGS)
EXECUTOR = Executor(SCHEMA, SETTINGS)


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
@given(filters | filters.map(lambda value: json.dumps(value)) | json_values, event_data)
def test_any_filter_is_compiled_or_refused(value: object, data: object) -> None:
    try:
        expanded = to_subscription_filter(value)
        if expanded["filterGroup"]:
            compile_filter(parse_filter(expanded))(data)
    except FilterError:
        pass  # and nothing else
