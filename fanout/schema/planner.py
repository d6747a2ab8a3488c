"""From a wish to subscribe to a plan: field, filter and projection. Pure; knows no connection and no registry.

What happens once per distinct document (parse, validate, find the root field), once per distinct selection (compile
the projection) and once per distinct variables (coerce them, build the filter) is kept, since after an outage
thousands of clients send the same documents at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import orjson
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    SingleFieldSubscriptionsRule,
    VariableNode,
    get_argument_values,
    get_variable_values,
    validate,
)
from graphql.execution.values import VariableValues

from fanout.errors import BadRequest, ClientFault, ConfigurationError, DuplicatedOperation
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.schema.access import Access, Asked, Verdicts
from fanout.schema.arguments import build_limits, read_enhanced_filter, read_plain_filter
from fanout.schema.documents import Document, DocumentReader, find_operation
from fanout.schema.lru import Lru
from fanout.schema.projection import Projection
from fanout.schema.sdl import ApiSchema
from fanout.schema.selection import Place, SelectionCompiler, list_path_places
from fanout.schema.templates import FilterTemplate
from fanout.schema.wording import MAX_SHOWN_ERRORS, SUBSCRIPTION_RULES, format_errors, reword_variable_errors
from fanout.settings import Settings
from filters import Filter, FilterError, intersect_filters

# Apps have tens of documents. Weighed in characters: a syntax tree takes up to 250 bytes for each.
_MAX_OPERATIONS, _MAX_OPERATIONS_WEIGHT = 1024, 200_000
# Plans are small. Weighed in characters of the document and bytes of the variables: clients choose both.
_MAX_PLANS, _MAX_PLANS_WEIGHT = 10_000, 16_000_000
_MAX_PROJECTIONS_PER_OPERATION = 64
_NOBODY = Identity(AuthMode.API_KEY)
_CONDITIONAL_DIRECTIVES = frozenset({"include", "skip"})


class PlanSource(NamedTuple):
    """The part of a wish that a plan is made from: document, operation, and variables as JSON."""

    query: str
    operation_name: str | None
    variables: bytes


@dataclass(frozen=True, slots=True)
class Changed:
    """What has become of a plan whose subscribers would get other events now: they are to subscribe anew."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A valid subscription, ready to be registered.

    Args:
        field: name of the subscription field.
        filter: which of its events the client gets.
        projection: what it gets of them; one object for all plans with the same selection.
        source: what it was made from, for when the API changes.
        identity: who it was made for, where its filters depend on that, else None.
        invalidation: which payloads of `POST /admin/subscriptions/invalidate` end it; None: none does.
        filtered: the fields that the client's own enhanced filter reads; shared by plans with the same.
    """

    field: str
    filter: Filter
    projection: Projection
    source: PlanSource
    identity: Identity | None = None
    invalidation: Filter | None = None
    filtered: tuple[Place, ...] = ()

    def stands_for(self, other: Plan) -> bool:
        """Whether what is decided by this plan holds for another of the same group too. Takes up to 1 us."""
        return (
            self.filtered == other.filtered
            and _filter_keys(self) == _filter_keys(other)
            # By another identity, arguments decide which filter it is: other ones can have come to the same by chance.
            and ((self.identity is None and other.identity is None) or self.source == other.source)
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Operation:
    """A valid subscription operation, and what does not depend on its variables' values.

    Args:
        query: the document's text.
        node: the operation.
        fragments: of its document.
        root: the node of the root field, with the arguments.
        field: the root field in the schema.
        conditions: names of the variables in `@include` and `@skip`.
        projections: by the values of `conditions`.
    """

    query: str
    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    root: FieldNode
    field: GraphQLField
    conditions: tuple[str, ...]
    projections: Lru[tuple[Any, ...], Projection]


class SubscriptionPlanner:
    """Makes plans for one schema. Bounded in memory, whatever clients send.

    Args:
        schema: the API.
        settings: limits of documents and filters, and the filter templates.

    Raises:
        ConfigurationError: settings for a subscription field that does not exist, or a bad template.
    """

    def __init__(self, schema: ApiSchema, settings: Settings) -> None:
        self._schema = schema.graphql
        self._limits = build_limits(settings)
        self._hides_names = not settings.introspection
        self._documents = DocumentReader(schema.graphql, settings, SUBSCRIPTION_RULES)
        self._configured = dict(settings.subscriptions)
        self._templates, self._invalidations = self._read_templates(settings)
        self._operations: Lru[tuple[str, str | None], _Operation] = Lru(_MAX_OPERATIONS, _MAX_OPERATIONS_WEIGHT)
        self._plans: Lru[PlanSource, Plan] = Lru(_MAX_PLANS, _MAX_PLANS_WEIGHT)
        self._projections: WeakValueDictionary[str, Projection] = WeakValueDictionary()
        self._filtered: Lru[tuple[str, frozenset[tuple[str, ...]]], tuple[Place, ...]] = Lru(1024, 1024)
        self.verdicts = Verdicts()
        """Which selections are open to whom."""

    def plan(self, request: SubscribeRequest, identity: Identity, access: Access | None = None) -> Plan:
        """Check a subscription and work out whom it gets what of. Never waits.

        Takes 2 us for a document and variables seen before, 60 us for new variables, else 1.5 ms and more.

        Args:
            request: what the client sent.
            identity: who it is, for templates that ask.
            access: which fields are open to it; None: all.

        Raises:
            BadRequest: an invalid document, variable or filter; `errors` has all of them.
            DuplicatedOperation: more than one root field (AppSync's error for it).
            FieldDenied: the selection, or the filter that the client gave, touches a field that is not open.
            Unauthorized: the identity lacks a claim that the field's filter template needs.
        """
        name = request.operation_name or None
        variables = _write_variables(request.variables)
        plan = self._plans.get(PlanSource(request.query, name, variables))
        if plan is not None:
            if access is not None:
                self.verdicts.check(plan, access)
            return plan
        operation = self._operations.get((request.query, name))
        if operation is None:
            operation = self._read_operation(request.query, name)
            self._operations.put((request.query, name), operation, len(request.query))
        values = self._coerce_variables(operation, request.variables)
        field_name = operation.root.name.value
        try:
            arguments = get_argument_values(operation.field, operation.root, values)
            asked = Asked(self._find_projection(operation, values), ())
            if access is not None:
                self.verdicts.check(asked, access)
            enhanced = read_enhanced_filter(operation.field, arguments, self._limits)
            if enhanced is not None:
                asked = asked._replace(filtered=self._find_filtered(operation, enhanced))
                if access is not None:
                    self.verdicts.check(asked, access)
            filter_ = self._build_filter(operation, arguments, enhanced, identity)
            invalidating = self._invalidations.get(field_name)
            invalidation = invalidating.fill(arguments, identity) if invalidating else None
        except GraphQLError as error:
            raise _refuse([error]) from None
        except FilterError as error:
            raise BadRequest(error.message, error_code=error.error_code) from None
        # With the operation's own text, so that equal texts are held once; weighed as if they were not.
        source = PlanSource(operation.query, name, variables)
        templates = (self._templates.get(field_name), invalidating)
        if any(template is not None and template.uses_identity for template in templates):
            return Plan(field_name, filter_, asked.projection, source, identity, invalidation, asked.filtered)
        plan = Plan(field_name, filter_, asked.projection, source, None, invalidation, asked.filtered)
        self._plans.put(source, plan, len(request.query) + len(variables))
        return plan

    def template_arguments(self, field: str) -> frozenset[str]:
        """The arguments that the templates of a subscription field need, whatever the schema says of them."""
        templates = (self._templates.get(field), self._invalidations.get(field))
        return frozenset().union(*(template.arguments for template in templates if template is not None))

    @property
    def invalidation_fields(self) -> Collection[str]:
        """The subscription fields that have an invalidation filter."""
        return self._invalidations.keys()

    def replan(
        self,
        plan: Plan,
        former: SubscriptionPlanner,
        identity: Identity | None = None,
        access: Access | None = None,
    ) -> Plan | Changed | ClientFault:
        """What has become of a plan of a former planner: a new one for the same events, or why there is none.

        `identity`: who it is made for now; None: whoever it was made for.
        `access`: which fields are open to it; None: all.

        What the API's owner has set for the field counts as a change whatever it was: subscribers who share the plan's
        filter may differ in the arguments that a new template asks for.
        """
        field = plan.field
        if self._configured.get(field) != former._configured.get(field):
            return Changed()
        source = plan.source
        request = SubscribeRequest(source.query, source.operation_name, orjson.loads(source.variables), {})
        try:
            planned = self.plan(request, identity or plan.identity or _NOBODY, access)
        except ClientFault as fault:
            return fault
        # The other filter too: an argument of another type would leave it waiting for payloads of the former one.
        return planned if _filter_keys(planned) == _filter_keys(plan) else Changed()

    def _read_templates(self, settings: Settings) -> tuple[dict[str, FilterTemplate], dict[str, FilterTemplate]]:
        """Templates of filters and of invalidation filters, by subscription field."""
        type_ = self._schema.subscription_type
        fields = type_.fields if type_ else {}
        templates, invalidations = {}, {}
        for name, configured in settings.subscriptions.items():
            if name not in fields:
                known = ", ".join(fields) or "none"
                raise ConfigurationError(f"subscriptions.{name}: no such subscription field; the schema has {known}")
            if configured.filter is not None:
                templates[name] = FilterTemplate(name, fields[name], configured.filter, self._limits)
            if (template := configured.invalidation_filter) is not None:
                invalidations[name] = FilterTemplate(name, fields[name], template, self._limits, "invalidation_filter")
        return templates, invalidations

    def _read_operation(self, query: str, name: str | None) -> _Operation:
        document = self._documents.read(query)
        if not isinstance(document, Document):
            raise _refuse(document)
        node = find_operation(document, name)
        if isinstance(node, GraphQLError):
            raise _refuse([node])
        if node.operation is not OperationType.SUBSCRIPTION:
            raise BadRequest(
                f"This is a {node.operation.value}: send it with POST to /graphql, "
                "only subscriptions are served over WebSocket."
            )
        root = self._find_root(document, node)
        type_ = self._schema.subscription_type
        assert type_ is not None, "validation has checked that the operation's type exists"
        conditions = dict.fromkeys(_list_conditions(node.selection_set, document.fragments, set()))
        return _Operation(
            query=query,
            node=node,
            fragments=document.fragments,
            root=root,
            field=type_.fields[root.name.value],
            conditions=tuple(conditions),
            projections=Lru(_MAX_PROJECTIONS_PER_OPERATION, _MAX_PROJECTIONS_PER_OPERATION),
        )

    def _find_root(self, document: Document, operation: OperationDefinitionNode) -> FieldNode:
        roots: dict[str, FieldNode] = {}
        for node in _list_fields(operation.selection_set, document.fragments, set()):
            roots.setdefault((node.alias or node.name).value, node)
        if len(roots) > 1:
            raise DuplicatedOperation(
                f"A subscription selects one root field, this one selects {len(roots)}: {', '.join(roots)}. "
                "Start one subscription for each."
            )
        errors = validate(self._schema, document.node, [SingleFieldSubscriptionsRule])
        if errors:
            raise _refuse(errors)
        if not roots:
            raise BadRequest("The subscription selects no field.")
        [root] = roots.values()
        return root

    def _coerce_variables(self, operation: _Operation, variables: Mapping[str, Any]) -> VariableValues:
        definitions = operation.node.variable_definitions or ()
        values = get_variable_values(
            self._schema,
            definitions,
            dict(variables),
            max_errors=MAX_SHOWN_ERRORS,
            hide_suggestions=self._hides_names,
        )
        if isinstance(values, list):
            raise _refuse(reword_variable_errors(self._schema, operation.node, variables, values))
        return values

    def _find_projection(self, operation: _Operation, values: VariableValues) -> Projection:
        chosen = tuple([values.coerced.get(name) for name in operation.conditions])
        projection = operation.projections.get(chosen)
        if projection is None:
            type_ = self._schema.subscription_type
            assert type_ is not None
            compiler = SelectionCompiler(self._schema, operation.fragments, values)
            selection = compiler.compile(type_, [operation.node.selection_set])
            projection = self._projections.get(selection.key)
            if projection is None:
                projection = Projection(self._schema, selection)
                self._projections[selection.key] = projection
            operation.projections.put(chosen, projection)
        return projection

    def _find_filtered(self, operation: _Operation, enhanced: Filter) -> tuple[Place, ...]:
        key = (operation.root.name.value, enhanced.paths)
        places = self._filtered.get(key)
        if places is None:
            places = list_path_places(self._schema, operation.field.type, key[1])
            self._filtered.put(key, places)
        return places

    def _build_filter(
        self, operation: _Operation, arguments: Mapping[str, Any], enhanced: Filter | None, identity: Identity
    ) -> Filter:
        template = self._templates.get(operation.root.name.value)
        if template is not None:
            filled = template.fill(arguments, identity)
            return filled if enhanced is None else intersect_filters(filled, enhanced)
        if enhanced is not None:
            return enhanced
        return read_plain_filter(operation.field, arguments, self._limits)


def _filter_keys(plan: Plan) -> tuple[str, str | None]:
    return plan.filter.key, plan.invalidation.key if plan.invalidation else None


def _write_variables(variables: Mapping[str, Any]) -> bytes:
    try:
        # Copied, because it is kept: what orjson returns holds on to its whole buffer, 1 KB at least.
        return bytes(memoryview(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)))
    except orjson.JSONEncodeError:
        raise BadRequest("The variables cannot be written as JSON: they are nested too deeply.") from None


def _refuse(errors: Iterable[GraphQLError]) -> BadRequest:
    formatted = format_errors(errors)
    return BadRequest(formatted[0]["message"], errors=formatted)


def _list_fields(
    selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], visited: set[str]
) -> Iterator[FieldNode]:
    """The fields of one level, with fragments spread, each once."""
    for node in selection_set.selections:
        if isinstance(node, FieldNode):
            yield node
        elif not isinstance(node, FragmentSpreadNode):
            yield from _list_fields(node.selection_set, fragments, visited)  # type: ignore[attr-defined]
        elif node.name.value not in visited:
            visited.add(node.name.value)
            yield from _list_fields(fragments[node.name.value].selection_set, fragments, visited)


def _list_conditions(
    selection_set: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], visited: set[str]
) -> Iterator[str]:
    """Names of the variables that decide what a selection includes or skips, at any level."""
    for node in selection_set.selections:
        for directive in node.directives or ():
            if directive.name.value not in _CONDITIONAL_DIRECTIVES:
                continue
            for argument in directive.arguments or ():
                if isinstance(argument.value, VariableNode):
                    yield argument.value.name.value
        if not isinstance(node, FragmentSpreadNode):
            nested: SelectionSetNode | None = node.selection_set  # type: ignore[attr-defined]
            if nested:
                yield from _list_conditions(nested, fragments, visited)
        elif node.name.value not in visited:
            visited.add(node.name.value)
            yield from _list_conditions(fragments[node.name.value].selection_set, fragments, visited)
