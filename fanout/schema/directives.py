"""AppSync's schema directives: their definitions and what is read from them. Knows only the SDL's syntax tree.

Sources: AppSync developer guide, pages "Real-time data" (`@aws_subscribe`) and "Configuring authorization"
(the others). What the authorization directives mean is decided by `fanout.auth`; here they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from graphql import (
    ConstDirectiveNode,
    DefinitionNode,
    DirectiveDefinitionNode,
    FieldDefinitionNode,
    GraphQLError,
    ListValueNode,
    ObjectTypeDefinitionNode,
    ObjectTypeExtensionNode,
    ScalarTypeDefinitionNode,
    StringValueNode,
    parse,
    specified_directives,
)

from fanout.model import AuthDirective
from fanout.schema.scalars import AWS_SCALARS

SUBSCRIBE: Final = "aws_subscribe"
AUTHORIZATION_DIRECTIVES: Final = (
    "aws_api_key",
    "aws_iam",
    "aws_oidc",
    "aws_lambda",
    "aws_cognito_user_pools",
    "aws_auth",
)

# `aws_publish` does nothing; it stands in schemas that were exported from AppSync.
_PRELUDE_SDL = """
directive @aws_subscribe(mutations: [String!]!) on FIELD_DEFINITION
directive @aws_publish(subscriptions: [String]) on FIELD_DEFINITION
directive @aws_api_key on FIELD_DEFINITION | OBJECT
directive @aws_iam on FIELD_DEFINITION | OBJECT
directive @aws_oidc on FIELD_DEFINITION | OBJECT
directive @aws_lambda on FIELD_DEFINITION | OBJECT
directive @aws_cognito_user_pools(cognito_groups: [String!]) on FIELD_DEFINITION | OBJECT
directive @aws_auth(cognito_groups: [String!]) on FIELD_DEFINITION | OBJECT
""" + "\n".join(f"scalar {name}" for name in AWS_SCALARS)
# Without locations, so that an error is never located in text that the schema's author has not written.
PRELUDE: tuple[DefinitionNode, ...] = parse(_PRELUDE_SDL, no_location=True).definitions

# AppSync's export also defines `@defer`, which graphql-core refuses to execute with; documents cannot use it here.
_BUILT_IN_DIRECTIVES = {
    "defer",
    "stream",
    *(directive.name for directive in specified_directives),
    *(definition.name.value for definition in PRELUDE if isinstance(definition, DirectiveDefinitionNode)),
}


def is_built_in(definition: DefinitionNode) -> bool:
    """Whether a schema's own definition repeats one of ours, as exported schemas do; ours is used in its place."""
    match definition:
        case DirectiveDefinitionNode():
            return definition.name.value in _BUILT_IN_DIRECTIVES
        case ScalarTypeDefinitionNode():
            return definition.name.value in AWS_SCALARS
        case _:
            return False


def read_mutations(field: FieldDefinitionNode) -> list[StringValueNode] | None:
    """The names in a field's `@aws_subscribe(mutations: [...])`, as nodes that know their place; None without it.

    Raises:
        GraphQLError: names that are not strings.
    """
    for directive in field.directives or ():
        if directive.name.value == SUBSCRIBE:
            return _read_strings(directive, "mutations")
    return None


def read_authorization(
    nodes: Iterable[ObjectTypeDefinitionNode | ObjectTypeExtensionNode | FieldDefinitionNode | None],
) -> tuple[AuthDirective, ...]:
    """The authorization directives on a field, or on a type and its extensions, in the order of the text.

    Raises:
        GraphQLError: groups that are not strings.
    """
    return tuple(
        AuthDirective(
            directive.name.value,
            tuple(group.value for group in _read_strings(directive, "cognito_groups")),
            directive.loc.start_token.line if directive.loc else 0,
        )
        for node in nodes
        if node is not None
        for directive in node.directives or ()
        if directive.name.value in AUTHORIZATION_DIRECTIVES
    )


def _read_strings(directive: ConstDirectiveNode, argument_name: str) -> list[StringValueNode]:
    for argument in directive.arguments or ():
        if argument.name.value == argument_name:
            # GraphQL reads a single value where a list is expected as a list of one.
            given = argument.value.values if isinstance(argument.value, ListValueNode) else (argument.value,)
            strings = [value for value in given if isinstance(value, StringValueNode)]
            if len(strings) != len(given):
                raise GraphQLError(
                    f"@{directive.name.value}({argument_name}:) has to be a list of strings.", argument.value
                )
            return strings
    return []
