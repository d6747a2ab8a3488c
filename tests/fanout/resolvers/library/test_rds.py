"""util.rds: the guide's example, and what AppSync was captured to answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()

BOOKS = {
    "numberOfRecordsUpdated": 0,
    "records": [
        [{"stringValue": "Mark Twain"}, {"stringValue": "Adventures of Huckleberry Finn"}],
        [{"stringValue": "Jack London"}, {"stringValue": "The Call of the Wild"}],
    ],
    "columnMetadata": [{"label": "author", "name": "writer"}, {"label": None, "name": "title"}],
}
RECORDS = [
    {"author": "Mark Twain", "title": "Adventures of Huckleberry Finn"},
    {"author": "Jack London", "title": "The Call of the Wild"},
]
UPDATED = {"numberOfRecordsUpdated": 1, "generatedFields": []}


def to_json_object(*statements: Any) -> Any:
    as_text = RUN.run("util.rds.toJsonObject(args[0])", json.dumps({"sqlStatementResults": statements}))
    assert RUN.run("util.rds.toJsonObject(args[0])", {"sqlStatementResults": statements}) == as_text
    return as_text


def test_the_guides_books_and_a_statement_without_records() -> None:
    assert to_json_object(UPDATED, BOOKS) == [[{}], RECORDS]


@pytest.mark.parametrize(
    ("field", "record"),
    [
        ({"longValue": 5}, {"c": 5}),
        ({"doubleValue": 0.5}, {"c": 0.5}),
        ({"booleanValue": False}, {"c": False}),
        ({"blobValue": "aGVsbG8="}, {"c": "aGVsbG8="}),
        ({"isNull": True}, {}),
        ({"arrayValue": {"stringValues": ["a", "b"]}}, {"c": ["a", "b"]}),
        ({"arrayValue": {"arrayValues": [{"longValues": [1]}, {"booleanValues": [True]}]}}, {"c": [[1], [True]]}),
        ({"arrayValue": {}}, {"c": []}),
    ],
)
def test_kinds_of_fields(field: dict[str, Any], record: dict[str, Any]) -> None:
    statement = {"records": [[field]], "columnMetadata": [{"name": "c"}]}
    assert to_json_object(statement) == [[record]]


@pytest.mark.parametrize("name", ["__proto__", "constructor"])
def test_columns_have_any_name(name: str) -> None:
    assert to_json_object({"records": [[{"longValue": 1}]], "columnMetadata": [{"label": name}]}) == [[{name: 1}]]


def test_columns_without_a_name_are_counted() -> None:
    named = {"label": {"toString": 1}, "name": "b"}
    statement = {"records": [[{"longValue": 1}, {"longValue": 2}]], "columnMetadata": [named]}
    assert to_json_object(statement) == [[{"b": 1, "1": 2}]]


def test_nothing_becomes_null() -> None:
    assert RUN.run("[util.rds.toJsonObject(null), util.rds.toJsonObject()]") == [None, None]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("{", " takes the result of statements, with sqlStatementResults, not a string"),
        ({"sqlStatementResults": [1]}, " takes the result of statements, with sqlStatementResults, not an object"),
        ({"sqlStatementResults": [{"records": [{}]}]}, ": records takes lists of fields, not an object"),
        ({"sqlStatementResults": [{"records": [["x"]]}]}, ": a record takes a list of fields, not a string"),
    ],
)
def test_another_result_is_refused(result: Any, message: str) -> None:
    assert RUN.error("util.rds.toJsonObject(args[0])", result) == f"TypeError: util.rds.toJsonObject{message}"
