"""Plans: the right field, filter and projection, or the client's mistake in words that clients know."""

from __future__ import annotations

import gc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.errors import BadRequest, ClientFault, ConfigurationError, DuplicatedOperation, Unauthorized
from fanout.model import Identity, SubscribeRequest
from fanout.planning.planner import SubscriptionPlanner
from fanout.planning.plans import Plan
from fanout.schema.sdl import load_chat_schema, parse_schema
from fanout.settings import Settings, SubscriptionSettings, load_settings
from filters import MATCH_ALL, compile_filter

CHAT = load_chat_schema()
DEFAULTS = load_settings({}, {})
ANYBODY = Identity("API_KEY")
QUERY = "subscription On($roomId: ID) { onCreateMessage(roomId: $roomId) { id content } }"


def with_templates(**templates: dict[str, Any]) -> Settings:
    subscriptions = {name: SubscriptionSettings(filter=template) for name, template in templates.items()}
    return DEFAULTS.model_copy(update={"subscriptions": subscriptions})


def request(query: str, variables: Any = None, operation_name: str | None = None) -> SubscribeRequest:
    return SubscribeRequest(query, operation_name, variables or {}, {})


def planner(settings: Settings = DEFAULTS) -> SubscriptionPlanner:
    return SubscriptionPlanner(CHAT, settings)


def plan(query: str, variables: Any = None, operation_name: str | None = None) -> Plan:
    return planner().plan(request(query, variables, operation_name), ANYBODY)


def refuse(query: str, variables: Any = None, operation_name: str | None = None) -> ClientFault:
    with pytest.raises(ClientFault) as caught:
        plan(query, variables, operation_name)
    return caught.value


def test_a_plan_has_field_filter_and_projection() -> None:
    made = plan(QUERY, {"roomId": "r1"})
    assert made.field == "onCreateMessage"
    matches = compile_filter(made.filter)
    assert matches({"roomId": "r1", "id": "1"})
    assert not matches({"roomId": "r2"})
    payload = orjson.loads(made.projection.project({"id": "1", "roomId": "r1", "content": "hi"}))
    assert payload == {"data": {"onCreateMessage": {"id": "1", "content": "hi"}}}


@pytest.mark.parametrize(
    ("query", "variables", "matched", "not_matched"),
    [
        ("subscription { onCreateMessage { id } }", {}, [{}, {"roomId": "x"}, 5], []),
        (QUERY, {}, [{}, {"roomId": "x"}], []),
        (QUERY, {"roomId": None}, [{}, {"roomId": None}], [{"roomId": "x"}]),
        (QUERY, {"roomId": 5}, [{"roomId": "5"}], [{"roomId": "6"}]),
        (
            'subscription { onCreateMessage(roomId: "r", author: null) { id } }',
            {},
            [{"roomId": "r"}],
            [{"roomId": "r", "author": "a"}, {"author": None}],
        ),
        ("subscription { onCreateMessage(kind: IMAGE) { id } }", {}, [{"kind": "IMAGE"}], [{"kind": "TEXT"}, {}]),
        (
            "subscription S($f: MessageFilterInput) { onCreateMessage(filter: $f) { id } }",
            {"f": {"or": [{"priority": {"ge": 5}}, {"tags": {"contains": "urgent"}}]}},
            [{"priority": 5}, {"tags": ["urgent"]}],
            [{"priority": 4}],
        ),
        (
            'subscription { onCreateMessage(roomId: "r", filter: {author: {eq: "a"}}) { id } }',
            {},
            [{"author": "a"}, {"author": "a", "roomId": "other"}],
            [{"roomId": "r"}],
        ),
        (
            'subscription { onCreateMessage(roomId: "r", filter: {}) { id } }',
            {},
            [{"roomId": "r"}],
            [{"roomId": "other"}],
        ),
        (
            "subscription S($f: AWSJSON) { onMessageEvent(filter: $f) { id } }",
            {"f": '{"context.userId": {"beginsWith": "a"}}'},
            [{"context": {"userId": "ada"}}],
            [{"context": {"userId": "bob"}}, {"context": None}],
        ),
    ],
)
def test_what_arguments_let_through(query: str, variables: Any, matched: list[Any], not_matched: list[Any]) -> None:
    matches = compile_filter(plan(query, variables).filter)
    assert [matches(event) for event in matched] == [True] * len(matched)
    assert [matches(event) for event in not_matched] == [False] * len(not_matched)


def test_plans_of_the_same_selection_share_one_projection() -> None:
    one = planner()
    first = one.plan(request(QUERY, {"roomId": "1"}), ANYBODY)
    second = one.plan(request(QUERY, {"roomId": "2"}), ANYBODY)
    other_text = (
        "subscription Other { onCreateMessage { ...F } } fragment F on Message { id, content @skip(if: false) }"
    )
    third = one.plan(request(other_text), ANYBODY)
    assert first.projection is second.projection is third.projection
    assert first.filter != second.filter
    assert first.projection is not one.plan(request(QUERY.replace("id ", "i: id ")), ANYBODY).projection


def test_equal_requests_get_the_same_plan() -> None:
    one = planner()
    first = one.plan(request(QUERY, {"roomId": "1", "extra": {"a": 1, "b": 2}}), ANYBODY)
    assert one.plan(request(QUERY, {"extra": {"b": 2, "a": 1}, "roomId": "1"}), ANYBODY) is first
    assert one.plan(request(QUERY, {"roomId": "1"}, "On"), ANYBODY) is not first


def test_conditions_on_variables_choose_the_projection() -> None:
    one = planner()
    query = "subscription ($all: Boolean!) { onCreateMessage { id ...F } } "
    query += "fragment F on Message { author @include(if: $all) }"
    made = {value: one.plan(request(query, {"all": value}), ANYBODY).projection.key for value in (True, False)}
    assert made == {True: "{onCreateMessage{id author}}", False: "{onCreateMessage{id}}"}


def test_the_operation_is_chosen_by_name() -> None:
    query = "subscription A { onCreateMessage { id } } subscription B { onCreateRoom { id } } "
    query += "query C { getRoom(id: 1) { id } }"
    one = planner()
    for name, field in (("A", "onCreateMessage"), ("B", "onCreateRoom"), ("A", "onCreateMessage")):
        assert one.plan(request(query, {}, name), ANYBODY).field == field
    assert refuse(query).message == "Must provide operation name if query contains multiple operations."
    assert refuse(query, None, "D").message == "Unknown operation named 'D'."
    assert "send it with POST to /graphql" in refuse(query, None, "C").message
    assert plan("subscription { onCreateRoom { id } }", None, "").field == "onCreateRoom"


def test_root_fields_may_come_from_fragments_and_be_merged() -> None:
    made = plan(
        "subscription { ...F ... { x: onCreateRoom { name } } } fragment F on Subscription { x: onCreateRoom { id } }"
    )
    assert (made.field, made.projection.key) == ("onCreateRoom", "{x:onCreateRoom{id name}}")


@pytest.mark.parametrize(
    "query",
    [
        "subscription { onCreateMessage { id } onCreateRoom { id } }",
        "subscription { a: onCreateRoom { id } b: onCreateRoom { id } }",
        "subscription { ...F onCreateRoom { id } } fragment F on Subscription { onCreateMessage { id } }",
    ],
)
def test_two_root_fields_are_appsyncs_duplicated_operation(query: str) -> None:
    fault = refuse(query)
    assert isinstance(fault, DuplicatedOperation)
    assert fault.error_type == "DuplicatedOperationError"
    assert "selects one root field, this one selects 2" in fault.message


@pytest.mark.parametrize(
    ("query", "variables", "message"),
    [
        ("subscription {", {}, "Syntax Error: Expected Name, found <EOF>."),
        ("", {}, "Syntax Error: Unexpected <EOF>."),
        (
            "subscription { onCreateMessage { nope } }",
            {},
            "Validation error of type FieldUndefined: "
            "Field 'nope' in type 'Message' is undefined @ 'onCreateMessage/nope'",
        ),
        (
            "subscription { onDeleteMessage(filter: {}) { id } }",
            {},
            "Validation error of type UnknownArgument: Unknown field argument filter @ 'onDeleteMessage'",
        ),
        (
            "subscription ($id: ID!) { onCreateMessage(roomId: $id) { id } }",
            {},
            "Variable 'id' has coerced Null value for NonNull type 'ID!'",
        ),
        (
            "subscription ($f: MessageFilterInput) { onCreateMessage(filter: $f) { id } }",
            {"f": {"not": {"id": {"eq": "1"}}}},
            "The variables input contains a field name 'not' "
            "that is not defined for input object type 'MessageFilterInput' ",
        ),
        (
            "subscription ($id: ID) { onCreateMessage(roomId: $id) { id } }",
            {"id": {}},
            "Variable '$id' has invalid value: ID cannot represent value: {}",
        ),
        (
            "subscription { __typename }",
            {},
            "Anonymous Subscription must not select an introspection top level field.",
        ),
        (
            "subscription { onCreateMessage @skip(if: true) { id } }",
            {},
            "Anonymous Subscription must not use `@skip` or `@include` directives in the top level selection.",
        ),
        ("subscription { onCreateMessage }", {}, "Field 'onCreateMessage' of type 'Message' must have a selection"),
        (
            "subscription ($c: Boolean = true) { onCreateMessage { id @skip(if: $c) } }",
            {"c": None},
            "Argument 'if' has invalid value",
        ),
        (
            'subscription { onMessageEvent(filter: "{\\"id\\": {\\"in\\": [1,2,3,4,5,6]}}") { id } }',
            {},
            "subscription exceeds maximum value limit 5 for operator `in`.",
        ),
        (
            "subscription ($f: AWSJSON) { onMessageEvent(filter: $f) { id } }",
            {"f": '{"a": {"nope": 1}}'},
            "filter",
        ),
        ("subscription { " + "a { " * 300 + "}" * 301, {}, "Syntax Error: Document is nested too deeply"),
        ("{ getRoom(id: 1) { id } }", {}, "This is a query: send it with POST to /graphql"),
        ("mutation { createRoom(input: {}) { id } }", {}, "This is a mutation: send it with POST"),
        ("fragment F on Room { id }", {}, "Fragment 'F' is never used."),
    ],
)
def test_the_clients_mistakes(query: str, variables: Any, message: str) -> None:
    fault = refuse(query, variables)
    assert isinstance(fault, BadRequest)
    assert fault.message.startswith(message)
    assert fault.errors[0]["message"] == fault.message
    assert fault.errors[0]["errorType"] == "BadRequestException"


def test_every_mistake_is_told_with_its_place() -> None:
    errors = refuse("subscription {\n onCreateMessage { a b } }").errors
    assert [error["locations"] for error in errors] == [[{"line": 2, "column": 20}], [{"line": 2, "column": 22}]]


def test_a_selection_of_nothing() -> None:
    for query in ("subscription { ...F } fragment F on Subscription { ...G } fragment G on Subscription { ... { } }",):
        assert refuse(query).message


def test_limits_are_settings() -> None:
    small = planner(load_settings({"max_document_depth": 1, "max_filter_in_values": 1}, {}))
    with pytest.raises(BadRequest, match="nested 2 levels deep, the limit is 1"):
        small.plan(request("subscription { onCreateMessage { id } }"), ANYBODY)


def test_variables_that_are_not_json_text() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    for value in (deep, "\ud800", 2**70):
        assert "cannot be written as JSON" in refuse(QUERY, {"roomId": value}).message


def test_list_results_and_leaf_results() -> None:
    schema = parse_schema(
        """
        type Query { a: Int }
        type Mutation { m: [Int!]! n: Float }
        type Subscription { s: [Int!] @aws_subscribe(mutations: ["m"]) t: Float @aws_subscribe(mutations: ["n"]) }
        """
    )
    one = SubscriptionPlanner(schema, DEFAULTS)
    assert one.plan(request("subscription { s }"), ANYBODY).projection.project([1, 2]) == b'{"data":{"s":[1,2]}}'
    assert one.plan(request("subscription { t }"), ANYBODY).projection.project(1) == b'{"data":{"t":1.0}}'


def test_a_schema_without_subscriptions_refuses_all() -> None:
    one = SubscriptionPlanner(parse_schema("type Query { a: Int }"), DEFAULTS)
    with pytest.raises(BadRequest):
        one.plan(request("subscription { a }"), ANYBODY)


# Templates


def test_a_template_replaces_plain_arguments() -> None:
    one = planner(with_templates(onCreateMessage={"tags": {"contains": "$args.author"}}))
    query = "subscription ($a: String) { onCreateMessage(author: $a) { id } }"
    matches = compile_filter(one.plan(request(query, {"a": "x"}), ANYBODY).filter)
    assert matches({"tags": ["x"]})
    assert not matches({"author": "x"})
    with pytest.raises(BadRequest, match="Argument 'author' of subscription field 'onCreateMessage' is required"):
        one.plan(request(query), ANYBODY)


def test_null_for_an_argument_of_a_template_is_refused_like_one_left_out() -> None:
    one = planner(with_templates(onCreateMessage={"roomId": {"eq": "$args.roomId"}}))
    for query in (
        "subscription { onCreateMessage { id } }",
        "subscription { onCreateMessage(roomId: null) { id } }",
        "subscription ($r: ID) { onCreateMessage(roomId: $r) { id } }",
    ):
        with pytest.raises(BadRequest, match="is required by its filter"):
            one.plan(request(query, {"r": None}), ANYBODY)


@given(
    st.sampled_from(["r1", "r2"]),
    st.lists(
        st.tuples(st.sampled_from(["roomId", "author"]), st.sampled_from(["eq", "ne"]), st.sampled_from("ab")),
        max_size=3,
    ),
    st.fixed_dictionaries(
        {}, optional={"roomId": st.sampled_from(["r1", "r2", "a", None]), "author": st.sampled_from(["a", "b"])}
    ),
)
def test_a_clients_filter_narrows_a_template_and_never_weakens_it(
    room: str, conditions: list[tuple[str, str, str]], event: dict[str, Any]
) -> None:
    template = {"roomId": {"eq": "$args.roomId"}}
    one = planner(with_templates(onCreateMessage=template))
    query = "subscription ($r: ID, $f: MessageFilterInput) { onCreateMessage(roomId: $r, filter: $f) { id } }"
    given_filter = {"or": [{name: {operator: value}} for name, operator, value in conditions]} if conditions else {}
    made = one.plan(request(query, {"r": room, "f": given_filter}), ANYBODY)
    wanted = event.get("roomId") == room and (
        not conditions or any((event.get(name) == value) == (operator == "eq") for name, operator, value in conditions)
    )
    assert compile_filter(made.filter)(event) == wanted


def test_plans_that_depend_on_identity_are_not_shared() -> None:
    one = planner(with_templates(onCreateMessage={"author": {"eq": "$identity.sub"}}))
    query = "subscription { onCreateMessage { id } }"
    filters = [one.plan(request(query), Identity("OIDC", claims={"sub": sub})).filter for sub in ("ada", "bob")]
    assert [compile_filter(each)({"author": "ada"}) for each in filters] == [True, False]
    with pytest.raises(Unauthorized):
        one.plan(request(query), ANYBODY)


def test_settings_for_fields_that_do_not_exist() -> None:
    with pytest.raises(
        ConfigurationError, match=r"subscriptions\.onNope: no such subscription field; the schema has on"
    ):
        planner(with_templates(onNope={"a": {"eq": 1}}))
    with pytest.raises(ConfigurationError, match=r"subscriptions\.onCreateRoom\.filter: "):
        planner(with_templates(onCreateRoom={"a": {"nope": 1}}))
    empty = DEFAULTS.model_copy(update={"subscriptions": {"onCreateRoom": SubscriptionSettings()}})
    assert planner(empty).plan(request("subscription { onCreateRoom { id } }"), ANYBODY).filter == MATCH_ALL


# Bounds and cost


def test_memory_does_not_grow_with_what_clients_send() -> None:
    one = planner()
    for number in range(30):
        padding = "#" + "x" * 20_000
        one.plan(request(f'subscription {{ onCreateMessage(roomId: "{number}") {{ id }} }} {padding}'), ANYBODY)
    for number in range(200):
        one.plan(request(QUERY, {"roomId": "1", "junk": "x" * 200_000 + str(number)}), ANYBODY)
    operations, plans = one._operations._operations, one._known
    assert (operations.weight <= 200_000, plans.weight <= 16_000_000) == (True, True)
    assert (len(operations) < 12, len(plans) < 90) == (True, True)
    gc.collect()
    assert len(one._operations._projections) <= 2


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3)))
def test_any_request_is_a_plan_or_the_clients_fault(text: str, variables: dict[str, Any]) -> None:
    for query in (text, f"subscription {{ onCreateMessage(roomId: {text}) {{ id }} }}", QUERY):
        try:
            plan(query, {**variables, "roomId": text})
        except ClientFault:
            pass


def test_variables_of_other_directives_do_not_choose_the_projection() -> None:
    schema = parse_schema(
        "directive @note(list: [Int]) on FIELD type Query { a: Int } type Item { id: ID } type Mutation { m: Item }"
        'type Subscription { onM: Item @aws_subscribe(mutations: ["m"]) }'
    )
    one = SubscriptionPlanner(schema, DEFAULTS)
    query = "subscription ($list: [Int]) { onM { id @note(list: $list) } }"
    plans = [one.plan(request(query, {"list": [number]}), ANYBODY) for number in range(2)]
    assert plans[0].projection is plans[1].projection


def test_one_document_cannot_make_a_huge_answer() -> None:
    members = " ".join(f"f{number}: 1" for number in range(4_000))
    fault = refuse(f"subscription {{ onCreateMessage(filter: {{{members}}}) {{ id }} }}")
    assert len(orjson.dumps(fault.errors)) < 20_000
    query = "subscription ($f: MessageFilterInput) { onCreateMessage(filter: $f) { id } }"
    fault = refuse(query, {"f": {f"f{number}": 1 for number in range(9_000)}})
    assert len(orjson.dumps(fault.errors)) < 20_000


def test_without_introspection_errors_suggest_no_names() -> None:
    schema = parse_schema(
        "enum Color { RED } type T { id: ID color: Color } type Query { t: T } type Mutation { m(id: ID): T } "
        'type Subscription { onM(color: Color): T @aws_subscribe(mutations: ["m"]) }'
    )
    asked = request("subscription ($c: Color) { onM(color: $c) { id } }", {"c": "RAD"})
    for introspection, is_suggested in ((True, True), (False, False)):
        asking = SubscriptionPlanner(schema, load_settings({"introspection": introspection}, {}))
        with pytest.raises(BadRequest) as caught:
            asking.plan(asked, ANYBODY)
        assert ("Did you mean" in caught.value.message) is is_suggested
