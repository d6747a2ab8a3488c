"""What is told of a field that failed: AppSync's entry of `errors`, and the order of entries. Knows no resolver.

AppSync's entry is that of captures: `path`, `data`, `errorType`, `errorInfo`, `locations`, `message`. What graphql-core
itself finds wrong keeps its own entry and words, but for a null where there can be none, which AppSync words so that
clients look for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    get_nullable_type,
    is_list_type,
)

from fanout.errors import FieldDenied

_Order = dict[str, tuple[int, "_Order"]]
_match_null = re.compile(r"Cannot return null for non-nullable field (\w+)\.(\w+)\.").fullmatch
_LAST: Final = 1 << 30


class FieldError(Exception):
    """A field that has failed, and what the client is told of it.

    Args:
        message: what is wrong.
        error_type: AppSync's `errorType`.
        data: what stands in the entry in place of the field, cut to what the client selected.
        error_info: JSON that is passed on as it is.
    """

    def __init__(self, message: str, error_type: str, data: Any = None, error_info: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
        self.data = data
        self.error_info = error_info


def format_error(error: GraphQLError) -> dict[str, Any]:
    """AppSync's entry for a field that has failed or is not open, graphql-core's for everything else."""
    formatted: dict[str, Any] = {**error.formatted}
    match error.original_error:
        case FieldDenied(error_type=error_type):
            data = error_info = None
        case FieldError(error_type=error_type, data=data, error_info=error_info):
            pass
        case _:
            return formatted
    locations = [{**location, "sourceName": None} for location in formatted.get("locations", ())]
    return {
        "path": formatted.get("path"),
        "data": data,
        "errorType": error_type,
        "errorInfo": error_info,
        "locations": locations,
        "message": error.message,
    }


def reword_null(schema: GraphQLSchema, error: GraphQLError) -> dict[str, Any] | None:
    """AppSync's entry for a null where there can be none; None for other errors."""
    match = _match_null(error.message) if isinstance(error.original_error, TypeError) else None
    parent = schema.get_type(match[1]) if match else None
    if match is None or error.path is None or not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
        return None
    type_ = get_nullable_type(parent.fields[match[2]].type)
    for key in reversed(error.path):
        if not isinstance(key, int) or not is_list_type(type_):
            break
        type_ = get_nullable_type(type_.of_type)
    place = "".join(f"[{key}]" if isinstance(key, int) else f"/{key}" for key in error.path)
    message = f"Cannot return null for non-nullable type: '{type_}' within parent '{parent}' ({place})"
    return {"path": error.path, "locations": None, "message": message}


def order_errors(
    errors: Sequence[GraphQLError], selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> list[GraphQLError]:
    """Errors by their places in the response, outer ones first: fields that are resolved together fail in any order.

    Args:
        errors: of one execution.
        selection_set: of the operation.
        fragments: of the document.
    """
    if len(errors) < 2:
        return list(errors)
    order: _Order = {}
    _note_order(order, selection_set, fragments)
    return sorted(errors, key=lambda error: _find_place(order, error.path or ()))


def _find_place(order: _Order, path: Sequence[str | int]) -> list[int]:
    places: list[int] = []
    for key in path:
        if isinstance(key, int):
            places.append(key)
        else:
            place, order = order.get(key, (_LAST, {}))
            places.append(place)
    return places


def _note_order(
    order: _Order, selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> None:
    for node in selection_set.selections:
        match node:
            case FieldNode():
                key = (node.alias or node.name).value
                _, nested = order.setdefault(key, (len(order), {}))
                if node.selection_set:
                    _note_order(nested, node.selection_set, fragments)
            case InlineFragmentNode():
                _note_order(order, node.selection_set, fragments)
            case FragmentSpreadNode():
                _note_order(order, fragments[node.name.value].selection_set, fragments)
