"""Documents of clients: valid and small enough, or GraphQL errors; whatever the text."""

from __future__ import annotations

import pytest
from graphql import GraphQLError, build_schema, specified_rules
from hypothesis import given
from hypothesis import strategies as st

from fanout.schema.documents import MAX_SELECTED_FIELDS, Document, DocumentReader, Errors, find_operation
from fanout.settings import load_settings

SCHEMA = build_schema("type Query { a(x: Int): Query b: Query id: ID }")
SETTINGS = load_settings({"max_document_tokens": 2000, "max_document_depth": 5}, {})
READER = DocumentReader(SCHEMA, SETTINGS, specified_rules)


def read_valid(query: str) -> Document:
    document = READER.read(query)
    assert isinstance(document, Document), document
    return document


def read_errors(query: str) -> list[str]:
    errors = READER.read(query)
    assert not isinstance(errors, Document)
    return [error.message for error in errors]


def test_a_valid_document_is_taken_apart() -> None:
    document = read_valid("query A { ...F } query B { id } fragment F on Query { a { id } }")
    assert [operation.name and operation.name.value for operation in document.operations] == ["A", "B"]
    assert list(document.fragments) == ["F"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("{ a", "Syntax Error: Expected Name, found <EOF>."),
        ("", "Syntax Error: Unexpected <EOF>."),
        ("{ nope }", "Cannot query field 'nope' on type 'Query'."),
        ("{ id " + "id " * 2000 + "}", "Syntax Error: Document contains more than 2000 tokens. Parsing aborted."),
        ("{ a { a { a { a { a { id } } } } } }", "The document is nested 6 levels deep, the limit is 5."),
        (
            "{ a { a { ...F } } } fragment F on Query { a { ... on Query { ...G } } } "
            "fragment G on Query { b { b { id } } }",
            "The document is nested 6 levels deep, the limit is 5.",
        ),
        ("{ a " * 150 + "{ id }" + "}" * 150, "The document is nested 151 levels deep, the limit is 5."),
        ("{ a " * 450 + "{ id }" + "}" * 450, "Syntax Error: Document is nested too deeply. Parsing aborted."),
        ("{ ...F } fragment F on Query { a { ...F } }", "Cannot spread fragment 'F' within itself."),
    ],
)
def test_what_is_refused(query: str, text: str) -> None:
    assert read_errors(query) == [text]


def test_the_limit_of_levels_is_itself_allowed() -> None:
    read_valid("{ a { a { a { a { id } } } } }")


def test_fragments_that_multiply_are_counted_as_what_they_come_to() -> None:
    settings = load_settings({}, {})
    reader = DocumentReader(SCHEMA, settings, specified_rules)
    count = 20
    fragments = " ".join(f"fragment F{i} on Query {{ a {{ ...F{i + 1} }} b {{ ...F{i + 1} }} }}" for i in range(count))
    errors = reader.read(f"{{ ...F0 }} {fragments} fragment F{count} on Query {{ id }}")
    assert not isinstance(errors, Document)
    fields = 3 * 2**count - 2
    assert errors[0].message == f"The document selects {fields} fields, the limit is {MAX_SELECTED_FIELDS}."


def test_repeated_fields_cannot_hold_up_everybody() -> None:
    reader = DocumentReader(SCHEMA, load_settings({}, {}), specified_rules)
    for unit in ("id ", "a { id } ", "a(x: 1) { a { a { id } } } "):
        # Comparing each with each would take minutes; the budget ends it with an error.
        assert not isinstance(reader.read("{" + unit * (14_000 // len(unit.split())) + "}"), Document)
    read_valid("{" + "id " * 150 + "}")


@pytest.mark.parametrize(
    ("query", "name", "found"),
    [
        ("query A { id } query B { id }", "B", "B"),
        ("query A { id }", None, "A"),
        ("query A { id }", "", "A"),
        ("query A { id } query B { id }", None, "Must provide operation name if query contains multiple operations."),
        ("query A { id }", "C", "Unknown operation named 'C'."),
        ("fragment F on Query { id } { ...F }", "C", "Unknown operation named 'C'."),
    ],
)
def test_finding_the_operation(query: str, name: str | None, found: str) -> None:
    operation = find_operation(read_valid(query), name)
    if isinstance(operation, GraphQLError):
        assert operation.message == found
    else:
        assert operation.name is not None
        assert operation.name.value == found


def test_a_document_without_operation() -> None:
    document = DocumentReader(SCHEMA, SETTINGS, ()).read("fragment F on Query { id }")
    assert isinstance(document, Document)
    operation = find_operation(document, None)
    assert isinstance(operation, GraphQLError)
    assert operation.message == "Must provide an operation."


def check(outcome: Document | Errors) -> None:
    assert isinstance(outcome, Document) or (outcome and all(isinstance(error, GraphQLError) for error in outcome))


@given(st.text(alphabet='{}()$a:b id...on Query fragment@skip(if:true)"#\\u', max_size=60) | st.text(max_size=30))
def test_any_text_is_a_document_or_errors(text: str) -> None:
    check(READER.read(text))


BOUNDED = DocumentReader(
    SCHEMA,
    load_settings({"max_document_aliases": 3, "max_document_root_fields": 4, "max_document_directives": 3}, {}),
    specified_rules,
)


@pytest.mark.parametrize(
    ("within", "beyond", "text"),
    [
        ("{ x: id y: id a { z: id } }", "{ x: id y: id a { z: id ...F } } fragment F on Query { w: id }", "4 aliases"),
        ("{ id a { id } id id }", "{ id id ... { id } ...F } fragment F on Query { id ... { id } }", "5 root fields"),
        (
            "query ($x: Boolean = true) { id @skip(if: $x) @include(if: $x) ... @skip(if: $x) { id } }",
            "query ($x: Boolean = true @a) @b { id @skip(if: $x) ... @skip(if: $x) { id } }",
            "4 directives",
        ),
        ("{ id }", "{ ...F } fragment F on Query @a @b { ...F @c @d }", "4 directives"),
    ],
)
def test_aliases_root_fields_and_directives_are_bounded(within: str, beyond: str, text: str) -> None:
    assert isinstance(BOUNDED.read(within), Document)
    errors = BOUNDED.read(beyond)
    assert not isinstance(errors, Document)
    [error] = errors
    assert text in error.message


def test_so_many_aliases_are_not_even_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.schema.documents.validate", lambda *_args, **_named: pytest.fail("validated"))
    assert "400 aliases" in read_errors("{" + " ".join(f"a{number}: nothing" for number in range(400)) + "}")[0]


def test_without_introspection_nothing_of_the_schema_is_told() -> None:
    schema = build_schema("type Query { account(number: Int): Account } type Account { secretPlan: ID } enum E { RED }")
    telling = DocumentReader(schema, load_settings({}, {}), specified_rules)
    silent = DocumentReader(schema, load_settings({"introspection": False}, {}), specified_rules)
    for query, leaks in (
        ("{ __schema { types { name } } }", False),
        ('{ __type(name: "Account") { fields { name } } }', False),
        ("{ acount { __typename } }", True),
        ("{ account { secretPlam } }", True),
        ("{ account(numer: 1) { __typename } }", True),
        ("{ ... on Acount { __typename } }", True),
        ("query ($x: Intt) { account(number: $x) { __typename } }", True),
    ):
        told, hidden = telling.read(query), silent.read(query)
        assert not isinstance(hidden, Document)
        assert not any("Did you mean" in error.message for error in hidden)
        if isinstance(told, Document):
            assert "introspection has been disabled" in hidden[0].message
        else:
            assert leaks
            assert any("Did you mean" in error.message for error in told)
    assert isinstance(silent.read("{ account { __typename secretPlan } __typename }"), Document)
