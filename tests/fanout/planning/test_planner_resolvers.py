"""Plans of subscription fields that have a resolver: what comes before it, and what becomes of what it sets."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.errors import BadRequest, ClientFault, FieldDenied
from fanout.model import Identity, SubscribeRequest
from fanout.planning.drafts import Draft, RefusedByResolver
from fanout.planning.planner import SubscriptionPlanner
from fanout.planning.plans import Changed, Plan
from fanout.schema.resolving import Resolved, ResolverFault, SelectionText
from fanout.schema.sdl import load_chat_schema, parse_schema
from fanout.settings import Settings, SubscriptionSettings, load_settings
from filters import compile_filter, parse_filter
from tests.scripted_resolver import ScriptedResolver, equal_to

CHAT = load_chat_schema()
DEFAULTS = load_settings({}, {})
ANYBODY = Identity("API_KEY")
QUERY = "subscription On($roomId: ID) { onCreateMessage(roomId: $roomId) { id content } }"


def request(query: str, variables: Any = None, operation_name: str | None = None) -> SubscribeRequest:
    return SubscribeRequest(query, operation_name, variables or {}, {})


def planner(settings: Settings = DEFAULTS) -> SubscriptionPlanner:
    return SubscriptionPlanner(CHAT, settings)


def plan(query: str, variables: Any = None, operation_name: str | None = None) -> Plan:
    return planner().plan(request(query, variables, operation_name), ANYBODY)


def draft_of(one: SubscriptionPlanner, query: str = QUERY, variables: Any = None, access: Any = None) -> Draft:
    begun = one.begin(request(query, variables), ANYBODY, access)
    assert isinstance(begun, Draft)
    return begun


def with_resolver(settings: Settings = DEFAULTS, version: str = "1") -> SubscriptionPlanner:
    return SubscriptionPlanner(CHAT, settings, {"onCreateMessage": ScriptedResolver(lambda _: Resolved(None), version)})


MINE = equal_to(author="ada")


def test_what_comes_before_a_resolver_is_worked_out_once_for_all() -> None:
    one = with_resolver()
    draft = draft_of(one, variables={"roomId": "1"})
    assert draft.arguments == {"roomId": "1"}
    assert one.begin(request(QUERY, {"roomId": "1"}), Identity("API_KEY", {"sub": "other"})) is draft
    assert draft_of(one, variables={"roomId": "2"}) is not draft
    invocation = one.invoke(draft, request(QUERY, {"roomId": "1"}), ANYBODY)
    assert (invocation.type_name, invocation.field_name) == ("Subscription", "onCreateMessage")
    assert invocation.describe_selection() == SelectionText(("id", "content"), "{\n  id\n  content\n}")


def test_a_resolver_that_sets_nothing_leaves_the_plan_as_it_was() -> None:
    one = with_resolver()
    made = one.finish(draft_of(one, variables={"roomId": "1"}), Resolved({"id": 1}), ANYBODY)
    assert made.filter == plan(QUERY, {"roomId": "1"}).filter
    assert one.plan(request(QUERY, {"roomId": "1"}), ANYBODY) == made


FILTERING = 'subscription S($f: MessageFilterInput) { onCreateMessage(roomId: "1", filter: $f) { id } }'


def test_its_filter_takes_the_place_of_arguments_and_of_the_clients_own() -> None:
    one = with_resolver()
    for variables in ({}, {"f": {"content": {"eq": "c"}}}, {"f": {"content": {"in": ["x"] * 6}}}):
        made = one.finish(draft_of(one, FILTERING, variables), Resolved(None, filter=MINE), ANYBODY)
        assert made.filter == parse_filter(MINE)
        assert made.filtered == ()


def test_the_clients_own_filter_is_judged_where_it_stands() -> None:
    one = with_resolver()
    draft = draft_of(one, FILTERING, {"f": {"content": {"in": ["x"] * 6}}})
    with pytest.raises(BadRequest):
        one.finish(draft, Resolved(None), ANYBODY)

    class Closed:
        def may_use(self, type_name: str, field_name: str) -> bool:
            return field_name != "content"

    draft = draft_of(one, FILTERING, {"f": {"content": {"eq": "c"}}}, Closed())
    with pytest.raises(FieldDenied):
        one.finish(draft, Resolved(None), ANYBODY, Closed())
    one.finish(draft, Resolved(None, filter=MINE), ANYBODY, Closed())


def test_what_is_not_open_is_refused_before_a_resolver_runs() -> None:
    class Closed:
        def may_use(self, type_name: str, field_name: str) -> bool:
            return field_name != "content"

    one = with_resolver()
    for _ in range(2):
        with pytest.raises(FieldDenied):
            one.begin(request(QUERY), ANYBODY, Closed())
        draft = draft_of(one)
    with pytest.raises(FieldDenied):
        one.finish(draft, Resolved(None), ANYBODY, Closed())


def test_the_owners_template_holds_beside_it() -> None:
    template = {"roomId": {"eq": "$args.roomId"}}
    configured = SubscriptionSettings(filter=template, invalidation_filter=template)
    one = with_resolver(DEFAULTS.model_copy(update={"subscriptions": {"onCreateMessage": configured}}))
    draft = draft_of(one, variables={"roomId": "1"})
    made = one.finish(draft, Resolved(None, filter=MINE, invalidation_filter=MINE), ANYBODY)
    matches, ends = compile_filter(made.filter), compile_filter(made.invalidation)
    events = ({"roomId": "1", "author": "ada"}, {"roomId": "1"}, {"author": "ada"}, {})
    assert [matches(event) for event in events] == [True, False, False, False]
    assert [ends(event) for event in events] == [True, True, True, False]
    with pytest.raises(BadRequest, match="roomId"):
        one.finish(draft_of(one), Resolved(None, filter=MINE), ANYBODY)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"filterGroup": []}, "at least one entry"),
        ("text", "expected an object"),
        (
            equal_to(**{f"f{number}": 1 for number in range(6)}),
            "Filters exceed maximum attributes limit 5 for subscription",
        ),
    ],
)
@pytest.mark.parametrize("which", ["filter", "invalidation_filter"])
def test_a_filter_that_it_sets_has_the_deployments_limits(given: Any, message: str, which: str) -> None:
    one = with_resolver()
    with pytest.raises(BadRequest, match=message):
        one.finish(draft_of(one), Resolved(None, **{which: given}), ANYBODY)


def test_equal_filters_that_resolvers_set_are_one_object() -> None:
    one = with_resolver()
    first, second = (
        one.finish(draft_of(one, variables={"roomId": room}), Resolved(None, filter=equal_to(author="ada")), ANYBODY)
        for room in "12"
    )
    assert first.filter is second.filter
    assert not first.stands_for(second)


def test_errors_that_a_resolver_adds_refuse() -> None:
    one = with_resolver()
    with pytest.raises(RefusedByResolver, match="no"):
        one.finish(draft_of(one), Resolved(None, errors=(ResolverFault("no"),)), ANYBODY)


def test_what_a_resolver_has_set_is_kept_as_long_as_it_is_the_same() -> None:
    one = with_resolver()
    made = one.finish(draft_of(one), Resolved(None, filter=MINE), ANYBODY)
    assert one.replan(made, one) == made
    anew = with_resolver().replan(made, one)
    assert isinstance(anew, Plan)
    assert (anew.filter, anew.resolution, anew.source) == (made.filter, made.resolution, made.source)
    assert with_resolver(version="2").replan(made, one) == Changed()
    assert planner().replan(made, one) == Changed()
    assert with_resolver().replan(plan(QUERY), planner()) == Changed()
    smaller = SubscriptionPlanner(parse_schema(CHAT.sdl.replace("content: String", "text: String")), DEFAULTS)
    smaller._resolvers = one._resolvers
    assert isinstance(smaller.replan(made, one), ClientFault)


def test_credentials_are_renewed_without_it() -> None:
    template = {"author": {"eq": "$identity.sub"}}
    configured = {"onCreateMessage": SubscriptionSettings(filter=template)}
    one = with_resolver(DEFAULTS.model_copy(update={"subscriptions": configured}))
    ada, bob = Identity("OIDC", {"sub": "ada"}), Identity("OIDC", {"sub": "bob"})
    made = one.finish(draft_of(one), Resolved(None, filter=equal_to(kind="TEXT")), ada)
    assert made.identity is ada
    assert one.replan(made, one, ada) == made
    assert one.replan(made, one, bob) == Changed()


def test_fields_that_can_be_invalidated() -> None:
    assert with_resolver().invalidation_fields == {"onCreateMessage"}
    assert planner().invalidation_fields == set()


def test_a_resolver_sees_json_arguments_parsed_and_the_clients_filter_is_text_still() -> None:
    sdl = CHAT.sdl.replace("filter: MessageFilterInput", "filter: AWSJSON")
    resolver = ScriptedResolver(lambda _: Resolved(None))
    one = SubscriptionPlanner(parse_schema(sdl), DEFAULTS, {"onCreateMessage": resolver})
    query = "subscription S($f: AWSJSON) { onCreateMessage(filter: $f) { id } }"
    given = request(query, {"f": '{"author": {"eq": "ada"}}'})
    draft = one.begin(given, ANYBODY)
    assert isinstance(draft, Draft)
    invocation = one.invoke(draft, given, ANYBODY)
    assert invocation.arguments == {"filter": {"author": {"eq": "ada"}}}
    assert invocation.variables == given.variables
    assert one.finish(draft, Resolved(None), ANYBODY).filter == parse_filter(equal_to(author="ada"))
