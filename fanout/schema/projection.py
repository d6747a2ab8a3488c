"""From an event to a payload: what a subscription selected, as JSON bytes. Knows selections, no documents or sockets.

HOT: called once per event and distinct selection (never per subscriber). Budget: 3 us for a flat selection of five
fields, guarded by tests/fanout/schema/test_projection.py. A selection is compiled to nested closures; each object is
one loop over tuples, in which a value that already is what the payload needs costs one comparison of its class.

The result is what graphql-core's execution with default resolvers gives (the tests compare them), with three
differences: "Cannot return null" is told in AppSync's words, errors carry no `locations` (one projection serves many
documents), and a value that is no object has no fields (graphql-core would look for Python attributes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    get_nullable_type,
    is_list_type,
    is_non_null_type,
)

from fanout.schema.selection import TYPENAME, AbstractSelection, ObjectSelection, SelectedField, list_places

Path = tuple[Any, str | int] | None
"""Where a value stands: (the place above, name or index). Linked, so that going down costs one small tuple."""
_Names = dict[str, "_Names | None"]
"""Response keys of an object; None for what has no fields to look at: leaves and lists."""
Errors = list[dict[str, Any]]
Complete = Callable[[Any, Path, Errors], Any]
Coerce = Callable[[Any], Any]
_Way = tuple[type, str | None, Coerce, Complete | None]
"""How values of a type get into the payload: the class of those that are sent as they are, what to say of null
(None: null is fine), and what to call for others, `coerce` for leaves and `complete` for all else."""
_Step = tuple[str, str, type, str | None, Coerce, Complete | None]
"""One field of an object: response key, name in the event, and the way of its value."""

# By scalar: values of exactly this type are sent as they are.
_UNCHANGED: dict[str, type] = {"String": str, "ID": str, "Boolean": bool}
_NOTHING: dict[str, Any] = {}
PAYLOAD_TOO_LARGE = "PayloadTooLarge"


class _NoType:
    """The type of no value."""


class _Nulled(Exception):
    """The way of a null up to where it can stand, with the error that says why. No failure of ours."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.error = {"message": message, "path": _list_keys(path)}


class Projection:
    """One subscription field with a selection, compiled. Immutable; shared by all plans with the same key.

    Args:
        schema: the schema.
        selection: of the subscription type, with exactly one field.
    """

    __slots__ = ("__weakref__", "_alias", "_complete", "_is_required", "_name", "_names", "fields", "key")

    def __init__(self, schema: GraphQLSchema, selection: ObjectSelection) -> None:
        [field] = selection.fields
        self.key = selection.key
        self.fields = list_places(selection)
        """All fields that it reads, as (type, field)."""
        self._alias = field.response_key
        self._name = field.name
        self._names = _list_names(field.selection)
        self._is_required = is_non_null_type(field.type)
        self._complete = _Compiler(schema).compile_object(selection)

    def selects(self, path: Sequence[str]) -> bool:
        """Whether a payload has a value at this path: response keys below the subscription field, through no list."""
        names: _Names | None = self._names
        for name in path:
            if names is None or name not in names:
                return False
            names = names[name]
        return True

    def complete(self, data: object) -> tuple[dict[str, Any] | None, Errors]:
        """The payload's `data` and `errors` for an event's data (parsed JSON)."""
        errors: Errors = []
        try:
            return self._complete({self._name: data}, None, errors), errors
        except _Nulled as nulled:
            errors.append(nulled.error)
            return None, errors

    def project(self, data: object) -> bytes:
        """The payload `{"data": ...}`, with `errors` where there are any, for an event's data (parsed JSON)."""
        errors: Errors = []
        try:
            payload: dict[str, Any] = {"data": self._complete({self._name: data}, None, errors)}
        except _Nulled as nulled:
            payload = {"data": None}
            errors.append(nulled.error)
        if errors:
            payload["errors"] = errors
        try:
            return orjson.dumps(payload)
        except orjson.JSONEncodeError as error:
            # Only a scalar of the schema's author can be nested so deeply, or hold what was not read from JSON.
            return self._refuse({"message": f"The value cannot be written as JSON: {error}."})

    def too_large(self, size: int, limit: int) -> bytes:
        """The payload in place of one that exceeds the limit. Both in bytes."""
        return self._refuse(
            {
                "errorType": PAYLOAD_TOO_LARGE,
                "message": f"The payload of {size} bytes exceeds the limit of {limit} bytes: select fewer fields, "
                "or publish smaller events.",
            }
        )

    def _refuse(self, error: dict[str, Any]) -> bytes:
        data = None if self._is_required else {self._alias: None}
        return orjson.dumps({"data": data, "errors": [error | {"path": [self._alias]}]})


class _Compiler:
    """Turns selections into functions from a value to its place in the payload.

    A function of type `Complete` gets values that are not null, and raises `_Nulled` where there can be none.
    """

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema

    def compile_object(self, selection: ObjectSelection) -> Complete:
        parent = selection.type
        # Every payload starts as a copy of this: keys in order, and what is the same for all events.
        template: dict[str, Any] = {
            field.response_key: parent.name if field.name == TYPENAME else None for field in selection.fields
        }
        steps: list[_Step] = []
        for field in selection.fields:
            if field.name != TYPENAME:
                way = self._compile_type(field.type, field, parent)
                steps.append((field.response_key, field.name, *way))

        def complete_object(source: Any, path: Path, errors: Errors) -> dict[str, Any]:
            result = template.copy()
            get = source.get if source.__class__ is dict else _NOTHING.get
            for key, name, unchanged, required, coerce, complete in steps:
                value = get(name)
                if value.__class__ is unchanged:
                    result[key] = value
                elif value is not None or required is not None:
                    result[key] = _complete_value(value, path, key, errors, required, coerce, complete)
            return result

        return complete_object

    def _compile_type(self, type_: GraphQLOutputType, field: SelectedField, parent: GraphQLObjectType) -> _Way:
        nullable = get_nullable_type(type_)
        required = None
        if is_non_null_type(type_):
            required = f"Cannot return null for non-nullable type: '{nullable}' within parent '{parent.name}'"
        if is_list_type(nullable):
            return _NoType, required, _pass, self._compile_list(nullable.of_type, field, parent)
        match nullable:
            case GraphQLScalarType():
                return _UNCHANGED.get(nullable.name, _NoType), required, nullable.coerce_output_value, None
            case GraphQLEnumType():
                return _NoType, required, nullable.coerce_output_value, None
            case _:
                return _NoType, required, _pass, self._compile_composite(field, parent)

    def _compile_composite(self, field: SelectedField, parent: GraphQLObjectType) -> Complete:
        match field.selection:
            case ObjectSelection() as selection:
                return self.compile_object(selection)
            case AbstractSelection() as selection:
                return self._compile_abstract(selection, f"{parent.name}.{field.name}")
            case None:
                raise AssertionError("validation has checked that objects are selected from")

    def _compile_abstract(self, selection: AbstractSelection, place: str) -> Complete:
        by_type = {name: self.compile_object(possible) for name, possible in selection.by_type.items()}
        type_, schema = selection.type, self._schema

        def complete_abstract(value: Any, path: Path, errors: Errors) -> Any:
            name = value.get(TYPENAME) if value.__class__ is dict else None
            complete = by_type.get(name) if name.__class__ is str else None
            if complete is None:
                raise _Nulled(_describe_wrong_type(schema, type_, name, place), path)
            return complete(value, path, errors)

        return complete_abstract

    def _compile_list(self, item_type: GraphQLOutputType, field: SelectedField, parent: GraphQLObjectType) -> Complete:
        unchanged, required, coerce, complete = self._compile_type(item_type, field, parent)
        place = f"{parent.name}.{field.name}"

        def complete_list(value: Any, path: Path, errors: Errors) -> list[Any]:
            if value.__class__ is not list:
                raise _Nulled(f"Expected Iterable, but did not find one for field '{place}'.", path)
            return [
                item
                if item.__class__ is unchanged
                else _complete_value(item, path, index, errors, required, coerce, complete)
                for index, item in enumerate(value)
            ]

        return complete_list


def _complete_value(
    value: Any,
    path: Path,
    key: str | int,
    errors: Errors,
    required: str | None,
    coerce: Coerce,
    complete: Complete | None,
) -> Any:
    """A field or list item under `path`: its place in the payload, or null and an error, or `_Nulled` where null
    cannot stand."""
    try:
        if value is None:
            if required is None:
                return None
            raise _Nulled(_describe_null(required, path, key), (path, key))
        return coerce(value) if complete is None else complete(value, (path, key), errors)
    except _Nulled as nulled:
        if required is not None:
            raise
        errors.append(nulled.error)
    except GraphQLError as error:
        if required is not None:
            raise _Nulled(error.message, (path, key)) from None
        errors.append({"message": error.message, "path": _list_keys((path, key))})
    return None


def _list_names(selection: ObjectSelection | AbstractSelection | None) -> _Names:
    """The response keys below a field, without the types, which would keep the whole schema."""
    names: _Names = {}
    choices = selection.by_type.values() if isinstance(selection, AbstractSelection) else (selection,)
    for choice in choices:
        for field in choice.fields if choice else ():
            leads_on = field.selection is not None and not is_list_type(get_nullable_type(field.type))
            names[field.response_key] = _list_names(field.selection) if leads_on else None
    return names


def _pass(value: Any) -> Any:
    return value


def _list_keys(path: Path) -> list[str | int]:
    keys: list[str | int] = []
    while path is not None:
        path, key = path
        keys.append(key)
    keys.reverse()
    return keys


def _describe_null(required: str, path: Path, key: str | int) -> str:
    return f"{required} ({_write_path(_list_keys((path, key)))})"


def _write_path(keys: Iterable[str | int]) -> str:
    """As graphql-java writes it, and so AppSync: `/onX/items[0]/name`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f"/{key}" for key in keys)


def _describe_wrong_type(
    schema: GraphQLSchema, type_: GraphQLInterfaceType | GraphQLUnionType, name: object, place: str
) -> str:
    """graphql-core's words for an event whose `__typename` is missing or wrong."""
    if not isinstance(name, str):
        return (
            f"Abstract type '{type_}' must resolve to an Object type at runtime for field '{place}'. "
            f"Either the '{type_}' type should provide a 'resolve_type' function "
            "or each possible type should provide an 'is_type_of' function."
        )
    named: GraphQLNamedType | None = schema.get_type(name)
    if named is None:
        return f"Abstract type '{type_}' was resolved to a type '{name}' that does not exist inside the schema."
    if not isinstance(named, GraphQLObjectType):
        return f"Abstract type '{type_}' was resolved to a non-object type '{name}'."
    return f"Runtime Object type '{name}' is not a possible type for '{type_}'."
