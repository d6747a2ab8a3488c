"""Nulls, defaults, types, lists and maps. Cases from AppSync's developer guide, templates' pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()


@pytest.mark.parametrize(
    ("value", "is_null", "is_empty", "is_blank"),
    [
        ("undefined", True, True, True),
        ("null", True, True, True),
        ("''", False, True, True),
        ("' \\t\\n'", False, False, True),
        ("'a'", False, False, False),
        ("0", False, False, False),
        ("false", False, False, False),
        ("[]", False, False, False),
        ("{}", False, False, False),
    ],
)
def test_what_is_null_empty_or_blank(value: str, is_null: bool, is_empty: bool, is_blank: bool) -> None:
    kinds = ["isNull", "isNullOrEmpty", "isNullOrBlank"]
    assert RUN.run(f"[{', '.join(f'util.{kind}({value})' for kind in kinds)}]") == [is_null, is_empty, is_blank]
    defaults = RUN.run(
        f"[util.defaultIfNull({value}, 7), util.defaultIfNullOrEmpty({value}, 7), "
        f"util.defaultIfNullOrBlank({value}, 7)].map((found) => found === 7)"
    )
    assert defaults == [is_null, is_empty, is_blank]


@pytest.mark.parametrize(
    ("value", "type_", "is_of"),
    [
        ("null", "Null", None),
        ("undefined", "Null", None),
        ("'a'", "String", "isString"),
        ("''", "String", "isString"),
        ("1", "Number", "isNumber"),
        ("1.5", "Number", "isNumber"),
        ("true", "Boolean", "isBoolean"),
        ("[]", "List", "isList"),
        ("{}", "Map", "isMap"),
        ("(() => 1)", "Object", None),
    ],
)
def test_every_value_is_of_one_type(value: str, type_: str, is_of: str | None) -> None:
    assert RUN.run(f"util.typeOf({value})") == type_
    for kind in ["isString", "isNumber", "isBoolean", "isList", "isMap"]:
        assert RUN.run(f"util.{kind}({value})") is (kind == is_of)


def test_validate_says_an_error_where_the_condition_does_not_hold() -> None:
    assert RUN.run("util.validate(true, 'No')") == "undefined"
    assert RUN.envelope("util.validate(1 > 2, 'No')")["error"] == {
        "message": "No",
        "type": "CustomTemplateException",
        "data": None,
        "info": None,
    }
    error = RUN.envelope("util.validate(false, 'No', 'Refused', { id: 1 })")["error"]
    assert (error["type"], error["data"]) == ("Refused", {"id": 1})


def test_json_goes_in_and_out() -> None:
    assert RUN.run("util.parseJson(args[0])", '{"a": [1, null]}') == {"a": [1, None]}
    assert RUN.run("util.toJson({ a: [1, undefined], b: undefined })") == '{"a":[1,null]}'
    assert RUN.run("util.toJson(undefined)") == "null"
    assert "SyntaxError" in RUN.error("util.parseJson(args[0])", "{")


@pytest.mark.parametrize(
    ("items", "others", "retained", "removed"),
    [
        ([1, 2, 3, 4, 5], [2, 4], [2, 4], [1, 3, 5]),
        (["a", "b", "a"], ["a"], ["a", "a"], ["b"]),
        ([{"a": [1]}, {"a": [2]}, None], [{"a": [1]}, None], [{"a": [1]}, None], [{"a": [2]}]),
        ([1, "1", True], [1], [1], ["1", True]),
        ([{"a": 1}], [{"a": 1, "b": 2}], [], [{"a": 1}]),
        ([], [1], [], []),
    ],
)
def test_lists_keep_or_lose_what_another_list_has(items: Any, others: Any, retained: Any, removed: Any) -> None:
    assert RUN.run("util.list.copyAndRetainAll(args[0], args[1])", items, others) == retained
    assert RUN.run("util.list.copyAndRemoveAll(args[0], args[1])", items, others) == removed


def test_lists_are_sorted_by_value_or_by_a_property() -> None:
    ages = [
        {"description": "youngest", "age": 5},
        {"description": "middle", "age": 45},
        {"description": "oldest", "age": 85},
    ]
    by_text = RUN.run("util.list.sortList(args[0], false, 'description')", ages)
    assert [item["age"] for item in by_text] == [45, 85, 5]
    assert RUN.run("util.list.sortList(args[0], true, 'age')", ages) == ages[::-1]
    assert RUN.run("util.list.sortList(args[0], false, 'any')", [10, 9, 1]) == [1, 9, 10]
    assert RUN.run("util.list.sortList(args[0], false, 'any')", [2, "a", 1]) == [2, "a", 1]
    assert RUN.run("(util.list.sortList(args[0], false, ''), args[0])", [2, 1]) == [2, 1]
    long = list(range(1001, 0, -1))
    assert RUN.run("util.list.sortList(args[0], false, '')", long) == long


def test_maps_keep_or_lose_keys() -> None:
    assert RUN.run("util.map.copyAndRetainAllKeys(args[0], ['b', 'x'])", {"a": 1, "b": {"c": 2}}) == {"b": {"c": 2}}
    assert RUN.run("util.map.copyAndRemoveAllKeys(args[0], ['b'])", {"a": 1, "b": 2}) == {"a": 1}
    odd = {"__proto__": {"a": 1}, "b": 2}
    assert RUN.run("util.map.copyAndRemoveAllKeys(args[0], ['b'])", odd) == {"__proto__": {"a": 1}}
