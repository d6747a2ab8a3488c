"""util.transform: the guide's examples, what AppSync was captured to answer, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.resolvers.answers import answer
from filters import FilterError, to_subscription_filter
from tests.fanout.resolvers.running import Expressions
from tests.filters import strategies
from tests.filters.test_transform import PRICED

RUN = Expressions(answer)


def group(*conditions: tuple[str, str, Any]) -> dict[str, Any]:
    return {
        "filters": [{"fieldName": name, "operator": operator, "value": value} for name, operator, value in conditions]
    }


NAME, STOCK = ("name", "ne", "sample"), ("stock", "gt", 100)


@pytest.mark.parametrize(
    ("args", "groups"),
    [
        (
            [PRICED],
            [
                group(("discount", "lte", 50), NAME, STOCK, ("seller", "eq", "us")),
                group(("discount", "lte", 50), NAME, STOCK, ("hidden", "eq", False)),
                group(("discount", "gte", 20), NAME, STOCK, ("seller", "eq", "us")),
                group(("discount", "gte", 20), NAME, STOCK, ("hidden", "eq", False)),
            ],
        ),
        ([PRICED, ["discount", "seller"]], [group(NAME, STOCK, ("hidden", "eq", False))]),
        (
            [PRICED, ["discount", "seller"], {"votes": {"gte": 250}, "seller": {"eq": "me"}}],
            [
                group(NAME, STOCK, ("hidden", "eq", False), ("votes", "gte", 250)),
                group(NAME, STOCK, ("hidden", "eq", False), ("seller", "eq", "me")),
            ],
        ),
        # The pages "Extensions" and "Enhanced subscription filtering", and captures.
        ([{"severity": {"le": 3}}], [group(("severity", "le", 3))]),
        (
            [{"or": [{"userId": {"eq": 1}}, {"group": {"in": ["Admin", "Developer"]}}]}],
            [group(("userId", "eq", 1)), group(("group", "in", ["Admin", "Developer"]))],
        ),
        (
            [{"priority": {"in": ["high", "medium"]}, "severity": {"ge": 7}}, None],
            [group(("priority", "in", ["high", "medium"]), ("severity", "ge", 7))],
        ),
        ([{"a": {"eq": 1, "ne": 2}}], [group(("a", "eq", 1)), group(("a", "ne", 2))]),
        ([{"loc.addr.country": {"eq": "USA"}}], [group(("loc.addr.country", "eq", "USA"))]),
        (
            [{"a": {"containsAny": ["x", "y"]}, "b": {"notIn": ["x"]}}],
            [group(("a", "containsAny", ["x", "y"]), ("b", "notIn", ["x"]))],
        ),
        ([{}, [], {"r1": {"eq": 1}}], [group(("r1", "eq", 1))]),
        ([{"and": []}], []),
        ([None, [], {"r1": {"eq": 1}}], [group(("r1", "eq", 1))]),
    ],
)
def test_documented_subscription_filters(args: list[Any], groups: list[Any]) -> None:
    assert RUN.run("util.transform.toSubscriptionFilter(...args)", *args) == {"filterGroup": groups}
    as_text = [json.dumps(args[0]), *args[1:]]
    assert RUN.run("util.transform.toSubscriptionFilter(...args)", *as_text) == {"filterGroup": groups}


def test_no_filter_is_null_as_captured() -> None:
    assert RUN.run("[util.transform.toSubscriptionFilter(null), util.transform.toSubscriptionFilter()]") == [
        None,
        None,
    ]


def test_a_subscription_filter_goes_straight_to_the_extension() -> None:
    code = "extensions.setSubscriptionFilter(util.transform.toSubscriptionFilter(args[0]))"
    envelope = RUN.envelope(code, {"severity": {"le": 3}})
    assert envelope["extensions"] == {"filter": {"filterGroup": [group(("severity", "le", 3))]}}


def test_two_equal_questions_have_answers_of_their_own() -> None:
    code = "[1, 2].map((n) => { const f = util.transform.toSubscriptionFilter({ a: { eq: 1 } }); f.n = n; return f; })"
    assert [answered["n"] for answered in RUN.run(code)] == [1, 2]


def test_the_same_question_is_asked_once_and_answers_do_not_pile_up() -> None:
    questions = []

    def count(question: list[Any]) -> dict[str, Any]:
        questions.append(question)
        return answer(question)

    counted = Expressions(count)
    code = "util.transform.toSubscriptionFilter({ a: { eq: args[0] } }).filterGroup[0].filters[0].value"
    values = [*range(64), *range(64), 64, 0, 0]
    assert [counted.run(code, value) for value in values] == values
    assert [question[1]["a"]["eq"] for question in questions] == [*range(64), 64, 0]
    assert [counted.run(code, "x" * 4000) for _ in range(2)] == ["x" * 4000] * 2
    assert len(questions) == 68


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{ not: { a: { eq: 1 } } }", "The variables input contains a field name 'not'"),
        ("{ or: [] }", "filter: `or` takes at least one alternative"),
        ("{ a: 1 }", "filter: field 'a' takes an object of operators"),
        ("'{'", "filter: the text is not valid JSON"),
        ("[]", "filter: expected an object of fields"),
        ("{}, {}", "filter: the ignored fields take a list of field names"),
        ("{}, [], { and: [] }", "filter: rules take field names only"),
    ],
)
def test_a_subscription_filter_that_cannot_be_is_the_resolvers_error(arguments: str, message: str) -> None:
    envelope = RUN.envelope(f"util.transform.toSubscriptionFilter({arguments})")
    assert envelope["error"]["message"].startswith(message)
    assert envelope["error"]["type"] == "BadRequest"


@pytest.mark.parametrize(
    "arguments",
    [
        "{ roomId: { eq: args[0] }, content: { ne: '' } }",
        "{ or: [{ content: { ne: '' } }, { and: [{ roomId: { eq: args[0] } }] }] }",
        "{ content: { ne: '' } }, [], { roomId: { eq: args[0] } }",
    ],
)
def test_an_operand_that_is_left_out_does_not_take_its_condition_with_it(arguments: str) -> None:
    message = RUN.error(f"util.transform.toSubscriptionFilter({arguments})")
    place = "util.transform.toSubscriptionFilter: 'eq' on 'roomId'"
    assert message == f"TypeError: {place} takes what JSON can say, not undefined"


def test_a_field_that_is_left_out_is_not_given() -> None:
    code = "util.transform.toSubscriptionFilter({ roomId: args[0], content: { ne: '' } }, undefined, undefined)"
    assert RUN.run(code) == {"filterGroup": [group(("content", "ne", ""))]}


@pytest.mark.parametrize(("value", "kind"), [("NaN", "NaN"), ("-1 / 0", "-Infinity"), ("() => 1", "a function")])
def test_what_json_cannot_say_is_no_operand(value: str, kind: str) -> None:
    message = RUN.error(f"util.transform.toSubscriptionFilter({{ a: {{ gt: {value} }} }})")
    assert message == f"TypeError: util.transform.toSubscriptionFilter: 'gt' takes what JSON can say, not {kind}"


def test_half_a_surrogate_pair_is_a_replacement_character() -> None:
    code = r"util.transform.toSubscriptionFilter({ a: { beginsWith: '\u{1F600}'.slice(0, 1) } })"
    assert RUN.run(code) == {"filterGroup": [group(("a", "beginsWith", "\ufffd"))]}


@given(strategies.nested_filters)
def test_any_subscription_filter_is_as_without_javascript(obj: dict[str, Any]) -> None:
    obj = json.loads(json.dumps(obj), parse_int=float)  # as numbers are in JavaScript
    envelope = RUN.envelope("util.transform.toSubscriptionFilter(args[0])", obj)
    outcome: dict[str, Any]
    try:
        outcome = {"value": to_subscription_filter(obj)}
    except FilterError as error:
        outcome = {"error": {"message": error.message, "type": "BadRequest", "data": None, "info": None}}
    assert outcome.items() <= envelope.items()


EXPRESSIONS = [
    # The guide's example. The guide prints a space after the comma and no parentheses; these are as captured.
    ({"title": {"contains": "Hello World"}}, "(contains(#title,:title_contains))",
     {"title_contains": {"S": "Hello World"}}),
    ({"id": {"attributeExists": True}, "version": {"eq": 10}}, "(attribute_exists(#id)) AND (#version = :version_eq)",
     {"version_eq": {"N": 10}}),
    ({"v": {"eq": "x"}}, "(#v = :v_eq)", {"v_eq": {"S": "x"}}),
    ({"v": {"ne": None}}, "(#v <> :v_ne)", {"v_ne": {"NULL": None}}),
    ({"v": {"lt": 1.5}}, "(#v < :v_lt)", {"v_lt": {"N": 1.5}}),
    ({"v": {"le": True}}, "(#v <= :v_le)", {"v_le": {"BOOL": True}}),
    ({"v": {"gt": {"a": 1}}}, "(#v > :v_gt)", {"v_gt": {"M": {"a": {"N": 1}}}}),
    ({"v": {"ge": [1]}}, "(#v >= :v_ge)", {"v_ge": {"L": [{"N": 1}]}}),
    ({"v": {"notContains": "x"}}, "(NOT contains(#v,:v_notContains))", {"v_notContains": {"S": "x"}}),
    ({"v": {"beginsWith": "x"}}, "(begins_with(#v,:v_beginsWith))", {"v_beginsWith": {"S": "x"}}),
    ({"v": {"between": ["1", "9", "3"]}}, "(#v BETWEEN :v_between_start AND :v_between_end)",
     {"v_between_start": {"S": "1"}, "v_between_end": {"S": "9"}}),
    ({"v": {"in": ["a", "b"]}}, "(#v IN (:v_in_0, :v_in_1))", {"v_in_0": {"S": "a"}, "v_in_1": {"S": "b"}}),
    ({"v": {"in": []}}, "(null)", {}),
    ({"v": {"attributeExists": False}}, "(attribute_not_exists(#v))", {}),
    ({"v": {"attributeType": "numberSet"}}, "(attribute_type(#v,:v_attributeType))", {"v_attributeType": {"S": "NS"}}),
    ({"v": {"size": {"gt": 2}}}, "(size(#v) > :v_size_gt)", {"v_size_gt": {"N": 2}}),
    ({"v": {"size": {"between": [1, 3]}}}, "(size(#v) BETWEEN :v_size_between_start AND :v_size_between_end)",
     {"v_size_between_start": {"N": 1}, "v_size_between_end": {"N": 3}}),
    ({"v": {"size": {"gt": 2, "lt": 5}}}, "((size(#v) > :v_size_gt) AND (size(#v) < :v_size_lt))",
     {"v_size_gt": {"N": 2}, "v_size_lt": {"N": 5}}),
    ({"v": {"size": {"size": {"gt": 1}}}}, "(size(#v) > :v_size_size_gt)", {"v_size_size_gt": {"N": 1}}),
    ({"v": {"size": {"attributeExists": True}}}, "(attribute_exists(size(#v)))", {}),
    ({"v": {"ge": 1, "le": 5}}, "((#v >= :v_ge) AND (#v <= :v_le))", {"v_ge": {"N": 1}, "v_le": {"N": 5}}),
    ({"a": {"eq": 1}, "b": {"eq": 2}}, "(#a = :a_eq) AND (#b = :b_eq)", {"a_eq": {"N": 1}, "b_eq": {"N": 2}}),
    ({"and": [{"a": {"eq": 1}}]}, "(#a = :and_0_a_eq)", {"and_0_a_eq": {"N": 1}}),
    ({"a": {"eq": 1}, "and": [{"b": {"eq": 2}}]}, "(#a = :a_eq) AND (#b = :and_0_b_eq)",
     {"a_eq": {"N": 1}, "and_0_b_eq": {"N": 2}}),
    ({"or": [{"content": {"beginsWith": "a"}}, {"id": {"between": ["1", "9"]}}]},
     "((begins_with(#content,:or_0_content_beginsWith)) OR (#id BETWEEN :or_1_id_between_start AND "
     ":or_1_id_between_end))",
     {"or_0_content_beginsWith": {"S": "a"}, "or_1_id_between_start": {"S": "1"}, "or_1_id_between_end": {"S": "9"}}),
    ({"or": [{"and": [{"a": {"eq": 1}}, {"b": {"eq": 2}}]}, {"c": {"eq": 3}}]},
     "(((#a = :or_0_and_0_a_eq) AND (#b = :or_0_and_1_b_eq)) OR (#c = :or_1_c_eq))",
     {"or_0_and_0_a_eq": {"N": 1}, "or_0_and_1_b_eq": {"N": 2}, "or_1_c_eq": {"N": 3}}),
    ({"and": [{"not": {"a": {"eq": 1}}}, {"b": {"eq": 2}}]}, "((NOT (#a = :and_0_not_a_eq)) AND (#b = :and_1_b_eq))",
     {"and_0_not_a_eq": {"N": 1}, "and_1_b_eq": {"N": 2}}),
    ({"not": {"and": [{"a": {"eq": 1}}, {"b": {"eq": 2}}]}},
     "(NOT ((#a = :not_and_0_a_eq) AND (#b = :not_and_1_b_eq)))",
     {"not_and_0_a_eq": {"N": 1}, "not_and_1_b_eq": {"N": 2}}),
    ({"not": {"not": {"a": {"eq": 1}}}}, "(NOT (NOT (#a = :not_not_a_eq)))", {"not_not_a_eq": {"N": 1}}),
    ({"a.b": {"eq": 1}}, "(#a.b = :a.b_eq)", {"a.b_eq": {"N": 1}}),
    ({}, "", {}),
    ({"and": []}, "", {}),
    ({"v": {}}, "", {}),
    # DynamoDB refuses these, which is better than an expression that holds for more than was meant.
    ({"a": {"eq": 1}, "b": {}}, "(#a = :a_eq) AND ", {"a_eq": {"N": 1}}),
    ({"and": [{"a": {"eq": 1}}, {}]}, "((#a = :and_0_a_eq) AND )", {"and_0_a_eq": {"N": 1}}),
    # Not captured: several fields below one `not` or `or` stay together.
    ({"not": {"a": {"eq": 1}, "b": {"eq": 2}}}, "(NOT ((#a = :not_a_eq) AND (#b = :not_b_eq)))",
     {"not_a_eq": {"N": 1}, "not_b_eq": {"N": 2}}),
]  # fmt: skip


@pytest.mark.parametrize("function", ["toDynamoDBFilterExpression", "toDynamoDBConditionExpression"])
@pytest.mark.parametrize(("filter", "expression", "values"), EXPRESSIONS, ids=str)
def test_dynamodb_expressions(function: str, filter: dict[str, Any], expression: str, values: dict[str, Any]) -> None:
    result = orjson.loads(RUN.run(f"util.transform.{function}(args[0])", filter))
    assert list(result) == ["expression", "expressionNames", "expressionValues"]
    assert result["expression"] == expression
    assert result["expressionNames"] == {f"#{name}": name for name in name_fields(filter)}
    assert result["expressionValues"] == {f":{name}": value for name, value in values.items()}


def name_fields(filter: dict[str, Any]) -> set[str]:
    names: set[str] = set()
    for key, value in filter.items():
        if key in ("and", "or", "not"):
            names.update(*(name_fields(part) for part in (value if isinstance(value, list) else [value])))
        else:
            names.add(key)
    return names


@pytest.mark.parametrize(
    "filter",
    [
        *("undefined", "null", "[]", '"string"', "{ v: { foo: 1 } }", '{ v: "x" }', "{ a: { b: { eq: 1 } } }"),
        *("{ and: { a: { eq: 1 } } }", "{ and: null }", "{ and: [{ a: { eq: 1 } }, null] }", "{ not: [{}] }"),
        *("{ v: { between: [1] } }", '{ v: { between: "x" } }', '{ v: { in: "x" } }'),
        *('{ v: { attributeExists: "yes" } }', '{ v: { attributeType: "S" } }', '{ v: { attributeType: "toString" } }'),
        *("{ v: { size: 3 } }", "{ v: { constructor: 1 } }", '{ v: { ["__proto__"]: 1 } }'),
    ],
)
def test_what_is_no_filter_becomes_null_as_captured(filter: str) -> None:
    assert RUN.run(f"util.transform.toDynamoDBFilterExpression({filter})") is None


def test_two_conditions_never_share_a_value() -> None:
    text = RUN.error(
        "util.transform.toDynamoDBFilterExpression(args[0])", {"and": [{"a": {"eq": 1}}], "and_0_a": {"eq": 2}}
    )
    assert text == "TypeError: util.transform: two conditions are named :and_0_a_eq"


OPERATORS = st.sampled_from(["eq", "ne", "lt", "contains", "in", "between", "attributeExists", "size", "x"])
FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "__proto__", "toString"]),
    st.dictionaries(
        OPERATORS, st.integers(0, 3) | st.lists(st.text(max_size=2), max_size=3) | st.booleans(), max_size=2
    )
    | st.none(),
    max_size=2,
)
FILTERS = st.recursive(
    FIELDS,
    lambda inner: st.fixed_dictionaries({}, optional={"and": st.lists(inner, max_size=2), "not": inner, "c": FIELDS}),
    max_leaves=5,
)


@given(FILTERS)
def test_an_expression_has_exactly_the_values_that_it_names(filter: dict[str, Any]) -> None:
    text = RUN.run("util.transform.toDynamoDBConditionExpression(args[0])", filter)
    if text is None:
        return
    result = orjson.loads(text)
    words = result["expression"].replace("(", " ").replace(")", " ").replace(",", " ").split()
    assert {word for word in words if word.startswith(":")} == set(result["expressionValues"])
    assert {word for word in words if word.startswith("#")} <= set(result["expressionNames"])


def test_the_guides_opensearch_query() -> None:
    query = {"upvotes": {"ne": 15, "range": [10, 20]}, "title": {"eq": "hihihi", "wildcard": "h*i"}}
    assert orjson.loads(RUN.run("util.transform.toElasticsearchQueryDSL(args[0])", query)) == {
        "bool": {
            "must": [
                {
                    "bool": {
                        "must": [
                            {"bool": {"must_not": {"term": {"upvotes": 15}}}},
                            {"range": {"upvotes": {"gte": 10, "lte": 20}}},
                        ]
                    }
                },
                {"bool": {"must": [{"term": {"title": "hihihi"}}, {"wildcard": {"title": "h*i"}}]}},
            ]
        }
    }


@pytest.mark.parametrize(
    ("filter", "query"),
    [
        ({"a": {"gt": 1}}, {"range": {"a": {"gt": 1}}}),
        ({"a": {"gte": 1}}, {"range": {"a": {"gte": 1}}}),
        ({"a": {"lt": 1}}, {"range": {"a": {"lt": 1}}}),
        ({"a": {"lte": 1}}, {"range": {"a": {"lte": 1}}}),
        ({"a": {"exists": True}}, {"exists": {"field": "a"}}),
        ({"a": {"exists": False}}, {"bool": {"must_not": {"exists": {"field": "a"}}}}),
        ({"a": {"match": "x"}}, {"match": {"a": "x"}}),
        ({"a": {"matchPhrase": "x"}}, {"match_phrase": {"a": "x"}}),
        ({"a": {"matchPhrasePrefix": "x"}}, {"match_phrase_prefix": {"a": "x"}}),
        ({"a": {"multiMatch": "x"}}, {"multi_match": {"query": "x", "fields": ["a"]}}),
        ({"a": {"regexp": "x"}}, {"regexp": {"a": "x"}}),
        ({"__proto__": {"eq": 1}}, {"term": {"__proto__": 1}}),
        ({"and": [{"a": {"eq": 1}}, {"b": {"eq": 2}}]}, {"bool": {"must": [{"term": {"a": 1}}, {"term": {"b": 2}}]}}),
        (
            {"or": [{"a": {"eq": 1}}, {"b": {"eq": 2}}]},
            {"bool": {"should": [{"term": {"a": 1}}, {"term": {"b": 2}}], "minimum_should_match": 1}},
        ),
        ({"not": {"a": {"eq": 1}}}, {"bool": {"must_not": {"term": {"a": 1}}}}),
    ],
)
def test_opensearch_queries(filter: dict[str, Any], query: dict[str, Any]) -> None:
    assert orjson.loads(RUN.run("util.transform.toElasticsearchQueryDSL(args[0])", filter)) == query


def test_no_opensearch_query_without_a_filter() -> None:
    assert RUN.run("util.transform.toElasticsearchQueryDSL(null)") is None


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ([], " takes an object of fields, `and`, `or` and `not`, not a list"),
        ({"a": 1}, ": 'a' takes an object of operators, not a number"),
        ({"a": {"range": [1]}}, ": range takes a list of two bounds, not a list"),
        ({"a": {"toString": 1}}, ": 'a' has the unknown operator 'toString'"),
        ({"or": {}}, ": 'or' takes a list of objects, not an object"),
    ],
)
def test_another_opensearch_filter_is_refused(filter: Any, message: str) -> None:
    text = RUN.error("util.transform.toElasticsearchQueryDSL(args[0])", filter)
    assert text == f"TypeError: util.transform.toElasticsearchQueryDSL{message}"
