"""From SDL text to a checked schema in which mutations are linked to subscriptions. Knows no document and no event.

What is accepted is what AppSync accepts: GraphQL's own rules, AppSync's directives and scalars without their
definitions (a schema that repeats them, as exports do, is tolerated), a `Query` type with at least one field (the
GraphQL specification requires it, section 3.3.1; AppSync does too). Scalars of the author's own are passed
through unchecked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from graphql import (
    DocumentNode,
    FieldDefinitionNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    Source,
    TypeSystemDefinitionNode,
    TypeSystemExtensionNode,
    build_ast_schema,
    get_nullable_type,
    is_interface_type,
    is_introspection_type,
    is_list_type,
    parse,
    validate_schema,
)

# Not exported by the package, but the only way to get these errors with their place.
from graphql.validation.validate import validate_sdl

from fanout.errors import SchemaError
from fanout.model import AuthDirective
from fanout.schema.directives import PRELUDE, SUBSCRIBE, is_built_in, read_authorization, read_mutations
from fanout.schema.scalars import install_scalars

_Fielded = TypeVar("_Fielded", bound=GraphQLObjectType | GraphQLInterfaceType)

CHAT_SDL_PATH = Path(__file__).parent / "chat.graphql"
"""The built-in API, for a first try."""


@dataclass(frozen=True, slots=True, eq=False)
class ApiSchema:
    """A checked schema. Immutable.

    Args:
        sdl: the text it was made from.
        graphql: the schema as graphql-core knows it, with AppSync's scalars and directives.
        mutations: names of all mutation fields.
        links: subscription fields by mutation, in the order of the SDL.
        authorization: directives by (type, field), field None for those of the type itself; of interfaces too, where
            they decide nothing.
    """

    sdl: str
    graphql: GraphQLSchema
    mutations: frozenset[str]
    links: Mapping[str, tuple[str, ...]]
    authorization: Mapping[tuple[str, str | None], tuple[AuthDirective, ...]]

    def subscriptions_of(self, mutation: str) -> tuple[str, ...]:
        """Fields of `Subscription` that an event of this mutation reaches; empty where none is linked."""
        return self.links.get(mutation, ())

    @property
    def interfaces(self) -> frozenset[str]:
        """Names of the interfaces."""
        return frozenset(name for name, type_ in self.graphql.type_map.items() if is_interface_type(type_))

    @property
    def root_types(self) -> frozenset[str]:
        """Names of the types of queries, mutations and subscriptions."""
        types = (self.graphql.query_type, self.graphql.mutation_type, self.graphql.subscription_type)
        return frozenset(type_.name for type_ in types if type_ is not None)


def parse_schema(sdl: str, source: str = "schema") -> ApiSchema:
    """Check SDL text and build the schema from it.

    Args:
        sdl: the text.
        source: what to call it in errors, for example its path.

    Raises:
        SchemaError: the first thing that is wrong, with its line and column; says how many more there are.
    """
    document = _parse(sdl, source)
    _raise_first(validate_sdl(document), source)
    try:
        schema = build_ast_schema(document, assume_valid_sdl=True)
        _raise_first(validate_schema(schema), source)
        install_scalars(schema)
        return ApiSchema(
            sdl=sdl,
            graphql=schema,
            mutations=frozenset(schema.mutation_type.fields if schema.mutation_type else ()),
            links=_link_subscriptions(schema),
            authorization=dict(_list_authorization(schema)),
        )
    except GraphQLError as error:
        raise _locate(error, source) from None


def load_chat_schema() -> ApiSchema:
    """The built-in chat API."""
    return parse_schema(CHAT_SDL_PATH.read_text(encoding="utf-8"), CHAT_SDL_PATH.name)


def _parse(sdl: str, source: str) -> DocumentNode:
    try:
        parsed = parse(Source(sdl, source))
    except GraphQLError as error:
        raise _locate(error, source) from None
    for definition in parsed.definitions:
        if not isinstance(definition, TypeSystemDefinitionNode | TypeSystemExtensionNode):
            raise _locate(GraphQLError("This is not part of a schema, but of a request.", definition), source)
    own = [definition for definition in parsed.definitions if not is_built_in(definition)]
    return DocumentNode(definitions=(*PRELUDE, *own), loc=parsed.loc)


def _raise_first(errors: Sequence[GraphQLError], source: str) -> None:
    if errors:
        more = f" ({len(errors) - 1} more errors follow)" if len(errors) > 1 else ""
        raise _locate(errors[0], source, more)


def _locate(error: GraphQLError, source: str, more: str = "") -> SchemaError:
    message = error.message
    if message == "Query root type must be provided.":
        message += " Add for example: type Query { version: String }"
    # The last of several places is the one that can be wrong: a definition that repeats an earlier one.
    place = error.locations[-1] if error.locations else None
    return SchemaError(
        message + more, source=source, line=place.line if place else 0, column=place.column if place else 0
    )


def _link_subscriptions(schema: GraphQLSchema) -> dict[str, tuple[str, ...]]:
    links: dict[str, tuple[str, ...]] = {}
    mutations = schema.mutation_type.fields if schema.mutation_type else {}
    for type_, name, node in _list_fields(_list_objects(schema)):
        names = read_mutations(node)
        if names is None:
            continue
        if type_ is not schema.subscription_type:
            raise GraphQLError(f"@{SUBSCRIBE} belongs on fields of the subscription type, not of {type_.name}.", node)
        if not names:
            raise GraphQLError(f"@{SUBSCRIBE} of {type_.name}.{name} names no mutation.", node)
        for mutation_node in names:
            mutation = mutation_node.value
            if mutation not in mutations:
                raise GraphQLError(
                    f"@{SUBSCRIBE} of {type_.name}.{name} names the mutation '{mutation}', which does not exist.",
                    mutation_node,
                )
            returned, expected = type_.fields[name].type, mutations[mutation].type
            if not _is_same_type(returned, expected):
                # The first sentence is AppSync's, word for word.
                raise GraphQLError(
                    f"The subscription has an invalid output type. {type_.name}.{name} returns {returned}, "
                    f"the mutation {mutation} returns {expected}.",
                    node,
                )
            if name not in links.get(mutation, ()):
                links[mutation] = (*links.get(mutation, ()), name)
    return links


def _is_same_type(one: GraphQLOutputType, other: GraphQLOutputType) -> bool:
    """Whether values of one type are values of the other, but for null: the guide pairs `Post!` with `Post`."""
    ours, theirs = get_nullable_type(one), get_nullable_type(other)
    if is_list_type(ours) and is_list_type(theirs):
        return _is_same_type(ours.of_type, theirs.of_type)
    return ours is theirs


def _list_authorization(
    schema: GraphQLSchema,
) -> Iterator[tuple[tuple[str, str | None], tuple[AuthDirective, ...]]]:
    for type_ in _list_objects(schema):
        of_type = read_authorization((type_.ast_node, *type_.extension_ast_nodes))
        if of_type:
            yield (type_.name, None), of_type
    interfaces = [each for each in schema.type_map.values() if isinstance(each, GraphQLInterfaceType)]
    types: tuple[GraphQLObjectType | GraphQLInterfaceType, ...] = (*_list_objects(schema), *interfaces)
    for owner, name, node in _list_fields(types):
        of_field = read_authorization((node,))
        if of_field:
            yield (owner.name, name), of_field


def _list_objects(schema: GraphQLSchema) -> Iterator[GraphQLObjectType]:
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType) and not is_introspection_type(type_):
            yield type_


def _list_fields(types: Iterable[_Fielded]) -> Iterator[tuple[_Fielded, str, FieldDefinitionNode]]:
    for type_ in types:
        for name, field in type_.fields.items():
            if field.ast_node is not None:
                yield type_, name, field.ast_node
