"""The filter that a subscription's arguments are. Knows argument values and `filters`, no documents.

| argument | what it is |
|---|---|
| `filter`, of an input object type, AWSJSON or String | enhanced filter, as for AppSync's `toSubscriptionFilter` |
| every other | plain: the event's top-level field of that name is equal; null: it is null or absent |

A plain argument that is left out is no constraint. A `filter` that is left out, null or without conditions is no
enhanced filter. An enhanced filter replaces the plain arguments (AppSync guide, page "Extensions"): they then have
no effect. Values are compared as they are in the event: an ID is a string, so publishers write IDs as strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphql import GraphQLField, GraphQLInputObjectType, get_nullable_type

from fanout.settings import Settings
from filters import Filter, FilterLimits, build_equality_filter, parse_filter, to_subscription_filter

FILTER_ARGUMENT: Final = "filter"
_TEXT_TYPES = {"AWSJSON", "String"}


def build_limits(settings: Settings) -> FilterLimits:
    """The limits of filters that the settings give."""
    return FilterLimits(
        attributes=settings.max_filter_attributes,
        combinations=settings.max_filter_combinations,
        in_values=settings.max_filter_in_values,
        contains_any_values=settings.max_filter_contains_any_values,
        string_length=settings.max_filter_string_length,
        path_depth=settings.max_filter_path_depth,
    )


def takes_enhanced_filter(field: GraphQLField) -> bool:
    """Whether a subscription field has an argument for an enhanced filter."""
    argument = field.args.get(FILTER_ARGUMENT)
    if argument is None:
        return False
    type_ = get_nullable_type(argument.type)
    return isinstance(type_, GraphQLInputObjectType) or str(type_) in _TEXT_TYPES


def read_enhanced_filter(field: GraphQLField, arguments: Mapping[str, Any], limits: FilterLimits) -> Filter | None:
    """The enhanced filter that the client gave, or None.

    Args:
        field: the subscription field.
        arguments: its coerced arguments.
        limits: of the deployment.

    Raises:
        FilterError: a filter that is not acceptable.
    """
    if not takes_enhanced_filter(field):
        return None
    given = arguments.get(FILTER_ARGUMENT)
    if given is None or (isinstance(given, str) and not given.strip()):
        return None
    expanded = to_subscription_filter(given, limits=limits)
    return parse_filter(expanded, limits) if expanded["filterGroup"] else None


def read_plain_filter(field: GraphQLField, arguments: Mapping[str, Any], limits: FilterLimits) -> Filter:
    """The filter that the plain arguments are; matches every event if there are none.

    Args:
        field: the subscription field.
        arguments: its coerced arguments; those left out are not in it.
        limits: of the deployment.

    Raises:
        FilterError: too many arguments, or a list or an object as value.
    """
    if FILTER_ARGUMENT in arguments and takes_enhanced_filter(field):
        arguments = {name: value for name, value in arguments.items() if name != FILTER_ARGUMENT}
    return build_equality_filter(arguments, limits)
