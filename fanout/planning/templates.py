"""Filter templates: the filter that the API's owner sets for a subscription field. Knows no documents.

A template is written as a filter in either form (`{"filterGroup": [...]}`, or as for `toSubscriptionFilter`), in
which a value may be `"$args.x"` or `"$identity.x"`, with dots for what is nested. It is filled in for each
subscriber, and then holds in place of the plain arguments; a `filter` argument can only narrow it.

So that a client cannot weaken it, each placeholder has to have a value: an argument that is left out or null is
refused (null would match every event that does not carry the field), and so is an identity without the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    get_nullable_type,
    is_list_type,
)

from fanout.errors import BadRequest, ConfigurationError, Unauthorized
from fanout.model import Identity
from filters import Filter, FilterError, FilterLimits, parse_filter, to_subscription_filter

_ARGUMENTS, _IDENTITY = "args", "identity"
_SAMPLES: dict[str, Any] = {"Int": 1, "Float": 1.5, "Boolean": True, "AWSTimestamp": 1}
_LIST_OPERATORS = {"in": 1, "notIn": 1, "containsAny": 1, "between": 2}


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`$args.a.b` or `$identity.a.b`.

    Args:
        root: `args` or `identity`.
        path: the names behind it.
    """

    root: str
    path: tuple[str, ...]


Find = Callable[[Placeholder, str | None], Any]
"""The value for a placeholder; also told the operator that it is the whole operand of, else None."""

Arrange = Callable[[list[Any]], list[Any]]
"""What is done to the bounds of a `between` that placeholders stand in."""


class FilterTemplate:
    """A template for one subscription field, checked when it is made.

    Args:
        field_name: name of the subscription field, for errors.
        field: the field.
        template: as configured.
        limits: of the deployment; they hold for the filled template.
        setting: which setting of the field it is, for errors.

    Raises:
        ConfigurationError: an unknown argument, operator or form.
    """

    def __init__(
        self,
        field_name: str,
        field: GraphQLField,
        template: Mapping[str, Any],
        limits: FilterLimits,
        setting: str = "filter",
    ) -> None:
        self._field_name = field_name
        self._setting = setting
        self._where = f"subscriptions.{field_name}.{setting}"
        self._limits = limits
        self._placeholders: list[Placeholder] = []
        try:
            self._template = self._parse(template)
            sampled = self._build(lambda placeholder, operator: _sample(placeholder, operator, field), _in_order)
        except FilterError as error:
            raise ConfigurationError(f"{self._where}: {error.message.removeprefix('filter: ')}") from None
        self._constant = sampled if not self._placeholders else None

    @property
    def uses_identity(self) -> bool:
        """Whether subscribers with equal arguments can have different filters."""
        return any(placeholder.root == _IDENTITY for placeholder in self._placeholders)

    @property
    def arguments(self) -> frozenset[str]:
        """Names of the arguments without which it cannot be filled in."""
        return frozenset(placeholder.path[0] for placeholder in self._placeholders if placeholder.root == _ARGUMENTS)

    def fill(self, arguments: Mapping[str, Any], identity: Identity) -> Filter:
        """The filter for one subscriber.

        Raises:
            BadRequest: an argument that the template needs was left out, or is null.
            Unauthorized: the identity lacks a claim that the template needs.
            FilterError: a value that its operator does not take, or a limit.
        """
        if self._constant is not None:
            return self._constant

        def find(placeholder: Placeholder, _: str | None) -> Any:
            if placeholder.root == _ARGUMENTS:
                return self._find_argument(placeholder.path, arguments)
            return self._find_claim(placeholder.path, identity)

        return self._build(find)

    def _find_argument(self, path: tuple[str, ...], arguments: Mapping[str, Any]) -> Any:
        _, value = _look_up(arguments, path)
        if value is None:
            raise BadRequest(
                f"Argument '{'.'.join(path)}' of subscription field '{self._field_name}' is required by its "
                f"{self._setting}."
            )
        return value

    def _find_claim(self, path: tuple[str, ...], identity: Identity) -> Any:
        _, value = _look_up(identity.claims, path)
        if value is None:
            raise Unauthorized(
                f"Not Authorized to access {self._field_name} on type Subscription", error_type="Unauthorized"
            )
        return value

    def _parse(self, node: object, key: str = "") -> Any:
        """The template with placeholders as values of their own."""
        if isinstance(node, Mapping):
            for name in node:
                self._refuse_dollar(name, "a name")
            return {name: self._parse(child, name) for name, child in node.items()}
        if isinstance(node, list):
            return [self._parse(child, key) for child in node]
        if not isinstance(node, str) or not node.startswith("$"):
            return node
        root, *path = node[1:].split(".")
        if key in ("fieldName", "operator"):
            self._refuse_dollar(node, key)
        if root not in (_ARGUMENTS, _IDENTITY) or not path or not all(path):
            raise ConfigurationError(
                f"{self._where}: {node!r}: a value that starts with $ has to be $args.NAME or $identity.NAME"
            )
        placeholder = Placeholder(root, tuple(path))
        self._placeholders.append(placeholder)
        return placeholder

    def _refuse_dollar(self, text: object, where: str) -> None:
        if isinstance(text, str) and text.startswith("$"):
            raise ConfigurationError(f"{self._where}: {text!r} cannot stand as {where}, only as a value")

    def _build(self, find: Find, arrange: Arrange = list) -> Filter:
        filled = _fill(self._template, find, arrange, None)
        if "filterGroup" not in filled:
            filled = to_subscription_filter(filled, limits=self._limits)
            if not filled["filterGroup"]:
                raise FilterError("it has no condition: leave the filter out if every event is meant")
        return parse_filter(filled, self._limits)


def _fill(node: Any, find: Find, arrange: Arrange, operator: str | None) -> Any:
    if isinstance(node, Placeholder):
        return find(node, operator)
    if isinstance(node, dict):
        # In one form an operand stands under its operator's name, in the other beside it.
        named = node.get("operator")
        return {
            name: _fill(child, find, arrange, str(named) if named is not None and name == "value" else name)
            for name, child in node.items()
        }
    if isinstance(node, list):
        values = [_fill(child, find, arrange, None) for child in node]
        if operator == "between" and any(isinstance(child, Placeholder) for child in node):
            return arrange(values)
        return values
    return node


def _in_order(samples: list[Any]) -> list[Any]:
    """Bounds of which one is a sample, lower first: what takes its place later may well be in order."""
    try:
        return sorted(samples)
    except TypeError:
        return samples


def _look_up(values: Any, path: tuple[str, ...]) -> tuple[bool, Any]:
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return False, None
        values = values[name]
    return True, values


def _sample(placeholder: Placeholder, operator: str | None, field: GraphQLField) -> Any:
    """A value of the kind that the placeholder will have, to check the template with.

    Raises:
        FilterError: there is no such argument.
    """
    count = _LIST_OPERATORS.get(operator or "", 1)
    if placeholder.root == _IDENTITY:
        # What claims hold is not known here; the operator tells what it needs.
        return ["x"] * count if operator in _LIST_OPERATORS else "x"
    type_ = _find_type(placeholder, field)
    if is_list_type(type_):
        return [_SAMPLES.get(str(get_nullable_type(type_.of_type)), "x")] * count
    return _SAMPLES.get(str(type_), "x")


def _find_type(placeholder: Placeholder, field: GraphQLField) -> GraphQLInputType:
    """The nullable type of an argument, or of a field of an input object in it."""
    known: Mapping[str, Any] = field.args
    for name in placeholder.path:
        if name not in known:
            text = ".".join(placeholder.path)
            raise FilterError(f"$args.{text}: the subscription field has no such argument")
        type_: GraphQLInputType = get_nullable_type(known[name].type)
        known = type_.fields if isinstance(type_, GraphQLInputObjectType) else {}
    return type_
