"""What a mutation results in that no resolver is written for: its input. Knows types and values, no documents.

- The argument `input`, or the only argument, where that is an input object; where the result is a scalar, enum or
  list, the only argument whatever it is; else the arguments as one object;
- with a missing `id: ID!` generated, and missing `createdAt`/`updatedAt` of type AWSDateTime set to now;
- arguments that were left out are absent, explicit nulls are null.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLUnionType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)

from fanout.schema.selection import TYPENAME

INPUT_ARGUMENT: Final = "input"
_GENERATED_ID: Final = ("id", "ID!")
_TIMES: Final = ("createdAt", "updatedAt")


def read_clock() -> str:
    """The present time in AWSDateTime's form."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_id() -> str:
    """A new unique id."""
    return str(uuid.uuid4())


class MutationDefaults:
    """Makes the values of mutation fields of one schema.

    Args:
        schema: the schema.
        now: the present time in AWSDateTime's form.
        new_id: a new unique id.
    """

    def __init__(self, schema: GraphQLSchema, now: Callable[[], str], new_id: Callable[[], str]) -> None:
        self._schema = schema
        self._now = now
        self._new_id = new_id

    def build_value(self, field: GraphQLField, arguments: dict[str, Any]) -> Any:
        """The value of a mutation field for coerced arguments, which stay as they are."""
        value = self._annotate(field.type, _choose_input(field, arguments))
        type_ = get_named_type(field.type)
        items = value if isinstance(value, list) else [value]
        for item in items:
            if isinstance(item, dict):
                runtime_type = self._schema.get_type(item.get(TYPENAME, type_.name))
                if isinstance(runtime_type, GraphQLObjectType):
                    self._fill_in(runtime_type, item)
        return value

    def _fill_in(self, type_: GraphQLObjectType, value: dict[str, Any]) -> None:
        types = {name: field.type for name, field in type_.fields.items()}
        name, id_type = _GENERATED_ID
        if value.get(name) is None and str(types.get(name)) == id_type:
            value[name] = self._new_id()
        missing = [
            name
            for name in _TIMES
            if name in types and value.get(name) is None and get_named_type(types[name]).name == "AWSDateTime"
        ]
        if missing:
            value.update(dict.fromkeys(missing, self._now()))

    def _annotate(self, type_: GraphQLOutputType, value: Any) -> Any:
        """A copy of the value, in which `__typename` tells the type where it can be one of several.

        An input cannot tell it itself, since GraphQL reserves such names: it is the only type that has all fields
        of the value. Without one, executing gives graphql-core's error.
        """
        nullable = get_nullable_type(type_)
        if isinstance(value, list) and is_list_type(nullable):
            return [self._annotate(nullable.of_type, item) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(nullable, GraphQLInterfaceType | GraphQLUnionType):
            possible = [
                each for each in self._schema.get_possible_types(nullable) if value.keys() <= each.fields.keys()
            ]
            if len(possible) != 1:
                return value
            return self._annotate(possible[0], value) | {TYPENAME: possible[0].name}
        if not isinstance(nullable, GraphQLObjectType):
            return value
        fields = nullable.fields
        return {
            name: self._annotate(fields[name].type, item) if name in fields else item for name, item in value.items()
        }


def _choose_input(field: GraphQLField, arguments: dict[str, Any]) -> Any:
    named = field.args.get(INPUT_ARGUMENT)
    if named is not None and isinstance(get_nullable_type(named.type), GraphQLInputObjectType):
        return arguments.get(INPUT_ARGUMENT)
    if len(field.args) == 1:
        [(name, argument)] = field.args.items()
        result_type = get_nullable_type(field.type)
        is_object = isinstance(get_nullable_type(argument.type), GraphQLInputObjectType)
        if is_object or is_leaf_type(result_type) or is_list_type(result_type):
            return arguments.get(name)
    return arguments
