"""Which plan stands for which, among the plans of one group."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fanout.model import Identity, SubscribeRequest
from fanout.planning.planner import SubscriptionPlanner
from fanout.planning.plans import PlanSource, Resolution
from fanout.schema.sdl import load_chat_schema
from fanout.settings import Settings
from filters import MATCH_ALL, build_equality_filter

ADA = Identity("API_KEY")
PLAN = SubscriptionPlanner(load_chat_schema(), Settings()).plan(
    SubscribeRequest("subscription { onCreateMessage { id } }", None, {}, {}), ADA
)
OTHER_SOURCE = PlanSource("subscription { onCreateMessage{id} }", None, b"{}")
OTHER = build_equality_filter({"roomId": "1"})


@pytest.mark.parametrize(
    ("one", "other", "stands"),
    [
        ({}, {}, True),
        ({}, {"source": OTHER_SOURCE}, True),
        ({}, {"filter": OTHER}, False),
        ({}, {"invalidation": OTHER}, False),
        ({}, {"filtered": (("Message", "id"),)}, False),
        ({"identity": ADA}, {"identity": ADA}, True),
        ({"identity": ADA}, {"identity": ADA, "source": OTHER_SOURCE}, False),
        ({"resolution": Resolution("1")}, {}, False),
        ({"resolution": Resolution("1")}, {"resolution": Resolution("1")}, True),
        ({"resolution": Resolution("1")}, {"resolution": Resolution("1", MATCH_ALL)}, False),
        ({"resolution": Resolution("1", OTHER)}, {"resolution": Resolution("1", OTHER)}, True),
        ({"resolution": Resolution("1")}, {"resolution": Resolution("1"), "source": OTHER_SOURCE}, False),
    ],
)
def test_a_plan_stands_for_those_of_which_the_same_will_be_decided(one: dict, other: dict, stands: bool) -> None:
    assert replace(PLAN, **one).stands_for(replace(PLAN, **other)) is stands
    assert replace(PLAN, **other).stands_for(replace(PLAN, **one)) is stands
