"""AWSJSON in arguments: resolvers see it parsed, as in AppSync (developer guide, "Scalar types"). Knows no resolver.

Everything else sees the text that the client sent. Which fields have such arguments is worked out once for a schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_list_type,
)

_JSON_SCALAR: Final = "AWSJSON"


class JsonArguments:
    """Parses the arguments of certain fields of a schema.

    Args:
        schema: the schema.
        places: the fields whose arguments will be asked for, as (type, field).
    """

    def __init__(self, schema: GraphQLSchema, places: Iterable[tuple[str, str]]) -> None:
        self._holding: dict[tuple[str, str], GraphQLField] = {}
        for type_name, name in places:
            parent = schema.get_type(type_name)
            field = parent.fields.get(name) if isinstance(parent, GraphQLObjectType) else None
            if field is not None and _holds_json([argument.type for argument in field.args.values()]):
                self._holding[type_name, name] = field

    def parse(self, parent: GraphQLObjectType, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Coerced arguments of a field as its resolver sees them; the given ones stay as they are."""
        field = self._holding.get((parent.name, name))
        if field is None:
            return arguments
        return {key: _parse_json(field.args[key].type, value) for key, value in arguments.items()}


def _holds_json(types: list[GraphQLInputType]) -> bool:
    """Whether values of one of these types can hold AWSJSON, at any depth."""
    pending: list[GraphQLNamedType] = [get_named_type(type_) for type_ in types]
    seen: set[str] = set()
    while pending:
        type_ = pending.pop()
        if type_.name == _JSON_SCALAR:
            return True
        if isinstance(type_, GraphQLInputObjectType) and type_.name not in seen:
            seen.add(type_.name)
            pending += [get_named_type(field.type) for field in type_.fields.values()]
    return False


def _parse_json(type_: GraphQLInputType, value: Any) -> Any:
    nullable: Any = get_nullable_type(type_)
    if is_list_type(nullable) and isinstance(value, list):
        return [_parse_json(nullable.of_type, item) for item in value]
    if isinstance(nullable, GraphQLInputObjectType) and isinstance(value, dict):
        return {
            name: _parse_json(nullable.fields[name].type, item) if name in nullable.fields else item
            for name, item in value.items()
        }
    if isinstance(value, str) and getattr(nullable, "name", None) == _JSON_SCALAR:
        return orjson.loads(value)
    return value
