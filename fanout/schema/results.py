"""What the result of a mutation can be, as far as its outermost kind tells: object, list, scalar. Knows no document.

One rule for whoever publishes: `POST /events` refuses by it, and routers put aside what came by XADD. Hot:
`ResultKinds` is asked once per event, 0.1 us where the kind fits.
"""

from __future__ import annotations

from graphql import GraphQLOutputType, get_nullable_type, is_composite_type, is_list_type

from fanout.schema.sdl import ApiSchema


class ResultKinds:
    """The kinds of the results of all mutations of a schema."""

    __slots__ = ("_kinds", "_types")

    def __init__(self, schema: ApiSchema) -> None:
        mutation_type = schema.graphql.mutation_type
        self._types = {name: field.type for name, field in mutation_type.fields.items()} if mutation_type else {}
        self._kinds = {name: _find_class(type_) for name, type_ in self._types.items()}

    def describe_mismatch(self, mutation: str, data: object) -> str:
        """Why `data` cannot be the result of a mutation; empty if it can be, or if there is no such mutation."""
        if data.__class__ is self._kinds.get(mutation):
            return ""
        type_ = self._types.get(mutation)
        return "" if type_ is None else describe_mismatch(data, type_)


def describe_mismatch(data: object, output_type: GraphQLOutputType) -> str:
    """Why `data` cannot be a result of this type; empty if it can."""
    nullable = get_nullable_type(output_type)
    if data is None:
        return "publish only results, a mutation without one has no event"
    if is_list_type(nullable):
        return "" if isinstance(data, list) else f"this mutation's result is a list ({output_type})"
    if not is_composite_type(nullable) or isinstance(data, dict):
        return ""
    if isinstance(data, str):
        return f"this mutation's result is an object ({output_type}); send the object itself, not its JSON text"
    return f"this mutation's result is an object ({output_type})"


def _find_class(output_type: GraphQLOutputType) -> type | None:
    """The class that parsed JSON of this type has; None where it can be of several."""
    nullable = get_nullable_type(output_type)
    if is_list_type(nullable):
        return list
    return dict if is_composite_type(nullable) else None
