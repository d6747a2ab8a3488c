"""The one subscription that a document means, and what is selected by it; mistakes are tested with the planner."""

from __future__ import annotations

import pytest

from fanout.errors import BadRequest, DuplicatedOperation
from fanout.planning.operations import OperationReader
from fanout.schema.sdl import load_chat_schema
from fanout.settings import Settings

QUERY = """
subscription On($more: Boolean!) { here: onCreateMessage(roomId: "1") { id ...Rest } }
fragment Rest on Message { text: content @include(if: $more) id }
"""


@pytest.fixture
def reader() -> OperationReader:
    return OperationReader(load_chat_schema(), Settings())


def test_an_operation_is_read_once(reader: OperationReader) -> None:
    operation = reader.read(QUERY, "On")
    assert operation.field_name == "onCreateMessage"
    assert operation.conditions == ("more",)
    assert reader.read(QUERY, "On") is operation


def test_equal_selections_are_one_projection_whatever_the_document(reader: OperationReader) -> None:
    def project(query: str, **variables: object) -> object:
        operation = reader.read(query, None)
        return reader.find_projection(operation, reader.coerce_variables(operation, variables))

    assert project(QUERY, more=False) is project("subscription { here: onCreateMessage { id } }")
    assert project(QUERY, more=False) is not project(QUERY, more=True)


def test_variables_have_to_fit(reader: OperationReader) -> None:
    operation = reader.read(QUERY, None)
    with pytest.raises(BadRequest):
        reader.coerce_variables(operation, {})


def test_two_root_fields_are_refused(reader: OperationReader) -> None:
    with pytest.raises(DuplicatedOperation):
        reader.read("subscription { a: onCreateMessage { id } b: onCreateMessage { id } }", None)


def test_a_selection_is_described_by_all_nodes_of_the_field(reader: OperationReader) -> None:
    query = QUERY.replace("{ here", '{ here: onCreateMessage(roomId: "1") { kind } here')
    described = reader.describe_selection(query, None, {"more": True})
    assert described.names == ("kind", "id", "text")
    assert described.text.split() == ["{", "kind", "id", "...Rest", "}"]
    assert reader.describe_selection(query, None, {"more": False}).names == ("kind", "id")
