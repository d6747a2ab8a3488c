"""What a client is told of a resolver's errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanout.model import Identity, SubscribeRequest
from fanout.planning.drafts import RefusedByResolver
from fanout.planning.planner import SubscriptionPlanner
from fanout.schema.resolving import ResolverFault
from fanout.schema.sdl import load_chat_schema
from fanout.settings import Settings

PROJECTION = (
    SubscriptionPlanner(load_chat_schema(), Settings())
    .plan(
        SubscribeRequest("subscription { here: onCreateMessage { text: content } }", None, {}, {}), Identity("API_KEY")
    )
    .projection
)


def tell(*faults: ResolverFault) -> list[dict[str, Any]]:
    return RefusedByResolver(faults, PROJECTION).errors


def test_an_error_has_what_the_resolver_gave_it() -> None:
    assert tell(ResolverFault("no")) == [{"errorType": "Code", "message": "no"}]
    fault = ResolverFault("no", error_type="Mine", data={"content": "c", "id": "secret"}, error_info={"a": [1]})
    assert tell(fault) == [{"errorType": "Mine", "message": "no", "data": {"text": "c"}, "errorInfo": {"a": [1]}}]


def test_what_was_added_is_told_too() -> None:
    thrown = ResolverFault("last", appended=(ResolverFault("first", error_type="A"),))
    assert [error["message"] for error in tell(thrown, ResolverFault("other"))] == ["last", "first", "other"]


def test_data_that_the_field_cannot_have_is_not_told() -> None:
    assert tell(ResolverFault("no", data="secret"))[0]["data"] == {"text": None}


def test_what_cannot_be_written_is_left_out() -> None:
    deep: Any = 1
    for _ in range(250):
        deep = [deep]
    told = tell(ResolverFault("no", data={"content": "c"}, error_info=deep))
    assert told == [{"errorType": "Code", "message": "no", "data": {"text": "c"}}]
    shallow: Any = 1
    for _ in range(100):
        shallow = [shallow]
    assert orjson.dumps(tell(ResolverFault("no", error_info=shallow)))


@pytest.mark.parametrize(
    ("type_", "counted"), [(None, "Code"), ("Unauthorized", "Unauthorized"), ("user-17", "ResolverError")]
)
def test_metrics_have_few_types_however_many_a_resolver_makes_up(type_: str | None, counted: str) -> None:
    assert RefusedByResolver([ResolverFault("no", error_type=type_)], PROJECTION).error_type == counted
