"""AppSync's words for a client's mistakes in a subscription document, where clients look for them.

DataStore, for example, subscribes again without a filter when it reads "UnknownArgument: Unknown field argument
filter" (amplify-js, `datastore/src/sync/processors/subscription.ts`). All other errors keep graphql-core's text.
The sentences are those of captures. HTTP requests get graphql-core's own texts: `fanout.execution.executor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from graphql import (
    ArgumentNode,
    FieldNode,
    FieldsOnCorrectTypeRule,
    GraphQLError,
    GraphQLSchema,
    KnownArgumentNamesRule,
    OperationDefinitionNode,
    SingleFieldSubscriptionsRule,
    VariableDefinitionNode,
    is_input_object_type,
    is_input_type,
    is_list_type,
    is_non_null_type,
    specified_rules,
    type_from_ast,
)


class FieldUndefinedRule(FieldsOnCorrectTypeRule):
    """graphql-core's rule with AppSync's text."""

    _place = ""

    def enter_field(self, node: FieldNode, *args: Any) -> None:
        """Note where we are, then check."""
        self._place = _describe_place((*args[-1], node))
        super().enter_field(node, *args)

    def report_error(self, error: GraphQLError) -> None:
        """Reword and report."""
        name = self._place.rpartition("/")[2]
        parent = self.context.get_parent_type()
        text = f"Field '{name}' in type '{parent}' is undefined @ '{self._place}'"
        super().report_error(GraphQLError(f"Validation error of type FieldUndefined: {text}", error.nodes))


class UnknownArgumentRule(KnownArgumentNamesRule):
    """graphql-core's rule with AppSync's text for arguments of fields; those of directives keep their text."""

    def enter_argument(self, node: ArgumentNode, *args: Any) -> None:
        """Check, and report in AppSync's words."""
        context = self.context
        if context.get_argument() is None and context.get_field_def() and context.get_parent_type():
            place = _describe_place(args[-1])
            name = node.name.value
            text = f"Validation error of type UnknownArgument: Unknown field argument {name} @ '{place}'"
            context.report_error(GraphQLError(text, node))


# A second root field is told apart from other mistakes by `fanout.planning.operations`.
_OURS: dict[Any, Any] = {
    FieldsOnCorrectTypeRule: FieldUndefinedRule,
    KnownArgumentNamesRule: UnknownArgumentRule,
}
SUBSCRIPTION_RULES = tuple(
    _OURS.get(rule, rule) for rule in specified_rules if rule is not SingleFieldSubscriptionsRule
)
"""The rules for subscription documents: all of the specification's but that there is one root field."""


MAX_SHOWN_ERRORS: Final = 10
"""Errors of one request that are worked out and told; graphql-core may print a whole document again in each."""
_LONGEST_MESSAGE_CHARACTERS: Final = 1_000


def format_errors(errors: Iterable[GraphQLError]) -> list[dict[str, Any]]:
    """Errors as they are sent: at most `MAX_SHOWN_ERRORS` and one that says so, long messages cut."""
    formatted: list[dict[str, Any]] = [{**error.formatted} for error in islice(errors, MAX_SHOWN_ERRORS + 1)]
    for error in formatted:
        if len(error["message"]) > _LONGEST_MESSAGE_CHARACTERS:
            error["message"] = error["message"][:_LONGEST_MESSAGE_CHARACTERS] + "..."
    return formatted


def reword_variable_errors(
    schema: GraphQLSchema,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    errors: Sequence[GraphQLError],
) -> list[GraphQLError]:
    """AppSync's text for the mistakes that it has one for, else `errors` as they are.

    Args:
        schema: the schema.
        operation: whose variables were given.
        variables: the values, as the client sent them.
        errors: what graphql-core found wrong with them.
    """
    reworded = [
        GraphQLError(text, definition)
        for definition in operation.variable_definitions or ()
        for text in _describe_faults(schema, definition, variables)
    ]
    return reworded or list(errors)


def _describe_faults(
    schema: GraphQLSchema, definition: VariableDefinitionNode, variables: Mapping[str, Any]
) -> Iterator[str]:
    name = definition.variable.name.value
    type_ = type_from_ast(schema, definition.type)
    if not is_input_type(type_) or (name not in variables and definition.default_value):
        return
    # A stack of our own, since the nesting of variables is the client's choice.
    pending: list[tuple[str, Any, Any]] = [(name, variables.get(name), type_)]
    while pending:
        name, value, type_ = pending.pop()
        if is_non_null_type(type_):
            if value is None:
                yield f"Variable '{name}' has coerced Null value for NonNull type '{type_}'"
            type_ = type_.of_type
        if is_list_type(type_):
            items = value if isinstance(value, list) else [value]
            pending.extend((name, item, type_.of_type) for item in items if item is not None)
        elif is_input_object_type(type_) and isinstance(value, Mapping):
            for key, given in value.items():
                if key in type_.fields:
                    pending.append((key, given, type_.fields[key].type))
                else:
                    yield (
                        f"The variables input contains a field name '{key}' "
                        f"that is not defined for input object type '{type_}' "
                    )


def _describe_place(nodes: Iterable[Any]) -> str:
    """The fields among a node's ancestors and the node itself, by name, as graphql-java writes a query path."""
    return "/".join(node.name.value for node in nodes if isinstance(node, FieldNode))
