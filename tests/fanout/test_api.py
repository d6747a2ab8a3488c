"""All that answers for a schema is replaced together."""

from __future__ import annotations

import pytest

from fanout.api import Api
from fanout.errors import ClientFault, FieldDenied, Unavailable
from fanout.model import Identity, SubscribeRequest
from fanout.planning import Changed, Plan, RefusedByResolver
from fanout.schema import Caller, Invocation, Resolved, ResolverFault, parse_schema
from fanout.settings import Settings, SubscriptionSettings
from tests.scripted_resolver import ScriptedResolver, equal_to

ONE = """
type Query { a: Int } type Mutation { m: Int unlinked: Int }
type Subscription { onM(x: Int): Int @aws_subscribe(mutations: ["m"]) }
"""
OTHER = """
type Query { a: Int } type Mutation { n: Int }
type Subscription { onN: Int @aws_subscribe(mutations: ["n"]) }
"""
NOBODY = Identity("API_KEY")


def test_it_becomes_another_as_a_whole() -> None:
    api = Api(parse_schema(ONE), Settings())
    assert (api.route("m"), api.route("unlinked"), api.route("n")) == (("onM",), (), None)
    assert api.plan(SubscribeRequest("subscription { onM }", None, {}, {}), NOBODY).field == "onM"
    api.become(Api(parse_schema(OTHER), Settings()))
    assert (api.route("m"), api.route("n"), api.subscriptions_of("n")) == (None, ("onN",), ("onN",))
    assert api.plan(SubscribeRequest("subscription { onN }", None, {}, {}), NOBODY).field == "onN"
    assert api.executor.execute("{ __schema { mutationType { fields { name } } } }", {}, None).response == {
        "data": {"__schema": {"mutationType": {"fields": [{"name": "n"}]}}}
    }


def test_a_plan_is_made_anew_from_what_it_was_made_from() -> None:
    rules = SubscriptionSettings(filter={"x": {"eq": "$identity.x"}})
    settings = Settings(subscriptions={"onM": rules})
    api = Api(parse_schema(ONE), settings)
    someone = Identity("JWT", {"x": 1}, "someone")
    plan = api.plan(SubscribeRequest("subscription($v: Int) { onM(x: $v) }", None, {"v": 5}, {}), someone)
    anew = Api(parse_schema(ONE), settings).planner.replan(plan, api.planner)
    assert isinstance(anew, Plan)
    assert (anew.filter.key, anew.source, anew.identity) == (plan.filter.key, plan.source, someone)
    assert isinstance(Api(parse_schema(ONE), Settings()).planner.replan(plan, api.planner), Changed)
    assert api.planner.invalidation_fields == set()


ON_M = ("Subscription", "onM")


async def test_a_field_with_a_resolver_is_planned_when_that_has_run() -> None:
    resolver = ScriptedResolver(lambda invocation: Resolved(None, filter=equal_to(**invocation.arguments)))
    elsewhere = ScriptedResolver(lambda _: Resolved(None))
    api = Api(parse_schema(ONE), Settings(), resolvers={ON_M: resolver, ("Mutation", "onM"): elsewhere})
    request = SubscribeRequest("subscription { onM(x: 1) }", None, {}, {})
    finish = await api.plan(request, NOBODY)()
    first = finish()
    assert first.filter == api.preview(request, NOBODY).filter
    assert first.resolution is not None
    assert len(resolver.invocations) == 1
    assert (await api.plan(request, NOBODY)())() == first
    assert len(resolver.invocations) == 2
    assert api.recheck(first, NOBODY) is None
    assert api.find_denial(first, NOBODY) is None
    assert elsewhere.invocations == []


async def test_what_a_resolver_refuses_is_refused() -> None:
    def refuse(_: Invocation) -> Resolved:
        raise ResolverFault("no", error_type="Mine")

    api = Api(parse_schema(ONE), Settings(), resolvers={ON_M: ScriptedResolver(refuse)})
    with pytest.raises(RefusedByResolver) as caught:
        await api.plan(SubscribeRequest("subscription { onM }", None, {}, {}), NOBODY)()
    assert caught.value.errors == [{"errorType": "Mine", "message": "no"}]
    with pytest.raises(ClientFault):
        api.plan(SubscribeRequest("subscription { nope }", None, {}, {}), NOBODY)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_plan_is_begun_anew_where_another_api_is_served_meanwhile(fails: bool) -> None:
    def resolve(_: Invocation) -> Resolved:
        if fails:
            raise Unavailable("they have ended")
        return Resolved(None)

    api = Api(parse_schema(ONE), Settings(), resolvers={ON_M: ScriptedResolver(resolve)})
    waited = api.plan(SubscribeRequest("subscription { onM }", None, {}, {}), NOBODY)
    api.become(Api(parse_schema(ONE), Settings()))
    plan = (await waited())()
    assert isinstance(plan, Plan)
    assert plan.resolution is None


class Reader:
    """May use all but what is named."""

    def __init__(self, *closed: str) -> None:
        self.closed = closed

    def may_use(self, type_name: str, field_name: str) -> bool:
        return f"{type_name}.{field_name}" not in self.closed


async def test_what_is_open_is_asked_for_each_identity_and_can_change() -> None:
    someone = Identity("JWT")
    closed = {"JWT": Reader("Subscription.onM", "Mutation.m")}
    api = Api(parse_schema(ONE), Settings(), lambda identity: closed.get(identity.mode))
    request = SubscribeRequest("subscription { onM }", None, {}, {})
    plan = api.plan(request, NOBODY)
    assert api.find_denial(plan, NOBODY) is None
    assert api.recheck(plan, NOBODY) is None
    with pytest.raises(FieldDenied):
        api.plan(request, someone)
    for denial in (api.find_denial(plan, someone), api.recheck(plan, someone)):
        assert isinstance(denial, FieldDenied)
        assert denial.message == "Not Authorized to access onM on type Subscription"
    # A reload plans for nobody in particular; who may is looked at by itself.
    assert isinstance(api.planner.replan(plan, api.planner), Plan)
    assert (await api.execute("{ a }", {}, None, Caller(NOBODY))).response == {"data": {"a": None}}
    (error,) = (await api.execute("mutation { m }", {}, None, Caller(someone))).response["errors"]
    assert error["errorType"] == "Unauthorized"
    api.open_as(Api(parse_schema(ONE), Settings()))
    assert api.find_denial(plan, someone) is None
    api.become(Api(parse_schema(ONE), Settings(), lambda _: Reader("Subscription.onM")))
    with pytest.raises(FieldDenied):
        api.plan(request, NOBODY)


def test_a_plan_whose_invalidation_filter_comes_out_differently_has_changed() -> None:
    rules = SubscriptionSettings(filter={"x": {"ge": 0}}, invalidation_filter={"y": {"eq": "$args.y"}})
    settings = Settings(subscriptions={"onM": rules})
    api, same, other = (
        Api(parse_schema(ONE.replace("x: Int", f"x: Int y: {kind}")), settings) for kind in ("ID", "ID", "Int")
    )
    plan = api.plan(SubscribeRequest("subscription { onM(y: 5) }", None, {}, {}), NOBODY)
    assert isinstance(same.planner.replan(plan, api.planner), Plan)
    assert isinstance(other.planner.replan(plan, api.planner), Changed)
