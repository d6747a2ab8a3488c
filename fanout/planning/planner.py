"""From a wish to subscribe to a plan: field, filter and projection. Pure; knows no connection and no registry.

What happens once per distinct document and selection (`operations`) and once per distinct variables (coerce them,
build the filter) is kept, since after an outage thousands of clients send the same documents at once. Where the field
has a resolver, everything before it is kept likewise (`Draft`), and what it sets is each subscriber's own.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import orjson
from graphql import GraphQLError, GraphQLField, get_argument_values

from fanout.errors import BadRequest, ClientFault, ConfigurationError
from fanout.log_limit import LogLimit, tell_held_back
from fanout.model import AuthMode, Identity, SubscribeRequest
from fanout.planning.arguments import build_limits, read_enhanced_filter, read_plain_filter
from fanout.planning.drafts import Draft, RefusedByResolver
from fanout.planning.operations import OperationReader, refuse
from fanout.planning.plans import Changed, Plan, PlanSource, Resolution
from fanout.planning.templates import FilterTemplate
from fanout.schema.access import Access, Asked, Verdicts
from fanout.schema.json_arguments import JsonArguments
from fanout.schema.lru import Lru
from fanout.schema.resolving import Caller, Invocation, Resolved, Resolver
from fanout.schema.sdl import ApiSchema
from fanout.schema.selection import Place, list_path_places
from fanout.settings import Settings
from filters import Filter, FilterError, intersect_filters, parse_filter, unite_filters

_logger = logging.getLogger("fanout.planning")

# Plans are small. Weighed in characters of the document and bytes of the variables: clients choose both.
_MAX_PLANS, _MAX_PLANS_WEIGHT = 10_000, 16_000_000
_MAX_RESOLVED_FILTERS, _MAX_RESOLVED_FILTERS_WEIGHT = 4096, 1_000_000
_NOBODY = Identity(AuthMode.API_KEY)
_NO_RESOLUTION = Resolved(None)


class SubscriptionPlanner:
    """Makes plans for one schema. Bounded in memory, whatever clients send.

    Args:
        schema: the API.
        settings: limits of documents and filters, and the filter templates.
        resolvers: by subscription field.

    Raises:
        ConfigurationError: settings for a subscription field that does not exist, or a bad template.
    """

    def __init__(
        self, schema: ApiSchema, settings: Settings, resolvers: Mapping[str, Resolver] = MappingProxyType({})
    ) -> None:
        self._schema = schema.graphql
        self._limits = build_limits(settings)
        self._resolvers = resolvers
        self._configured = dict(settings.subscriptions)
        self._templates, self._invalidations = self._read_templates(settings)
        self._operations = OperationReader(schema, settings)
        type_ = schema.graphql.subscription_type
        self._json = JsonArguments(schema.graphql, [(type_.name, field) for field in resolvers] if type_ else [])
        self._known: Lru[PlanSource, Plan | Draft] = Lru(_MAX_PLANS, _MAX_PLANS_WEIGHT)
        self._filtered: Lru[tuple[str, frozenset[tuple[str, ...]]], tuple[Place, ...]] = Lru(1024, 1024)
        self._resolved: Lru[str, Filter] = Lru(_MAX_RESOLVED_FILTERS, _MAX_RESOLVED_FILTERS_WEIGHT)
        self._log_limit = LogLimit()
        self.verdicts = Verdicts()
        """Which selections are open to whom."""

    def plan(self, request: SubscribeRequest, identity: Identity, access: Access | None = None) -> Plan:
        """The plan of a subscription; of a field with a resolver as if that set nothing. See `begin`."""
        begun = self.begin(request, identity, access)
        return begun if isinstance(begun, Plan) else self.finish(begun, _NO_RESOLUTION, identity, access)

    def begin(self, request: SubscribeRequest, identity: Identity, access: Access | None = None) -> Plan | Draft:
        """Check a subscription and work out whom it gets what of, as far as that does not take a resolver.

        Never waits. Takes 2 us for a document and variables seen before, 60 us for new variables, else 1.5 ms and more.

        Args:
            request: what the client sent.
            identity: who it is, for templates that ask.
            access: which fields are open to it; None: all.

        Returns:
            A draft where the field has a resolver: run it, and `finish`.

        Raises:
            BadRequest: an invalid document, variable or filter; `errors` has all of them.
            DuplicatedOperation: more than one root field (AppSync's error for it).
            FieldDenied: the selection, or the filter that the client gave, touches a field that is not open.
            Unauthorized: the identity lacks a claim that the field's filter template needs.
        """
        name = request.operation_name or None
        variables = _write_variables(request.variables)
        known = self._known.get(PlanSource(request.query, name, variables))
        if known is not None:
            if access is not None:
                self.verdicts.check(known, access)
            return known
        draft = self._draft(request, name, variables)
        if access is not None:
            self.verdicts.check(draft, access)
        begun = draft if draft.resolver is not None else self._complete(draft, None, identity, access)
        if isinstance(begun, Draft) or begun.identity is None:
            self._known.put(draft.source, begun, len(request.query) + len(variables))
        return begun

    def invoke(self, draft: Draft, request: SubscribeRequest, identity: Identity) -> Invocation:
        """What the draft's resolver is to be run with for one subscriber."""
        type_ = self._schema.subscription_type
        assert type_ is not None
        source = draft.source
        return Invocation(
            type_.name,
            draft.field_name,
            self._json.parse(type_, draft.field_name, draft.arguments),
            None,
            Caller(identity, request.headers),
            request.variables,
            # Read again by it, since a draft that held the syntax tree would be large.
            partial(self._operations.describe_selection, source.query, source.operation_name, request.variables),
        )

    def finish(self, draft: Draft, resolved: Resolved, identity: Identity, access: Access | None = None) -> Plan:
        """The plan of a draft of this planner, when its resolver has run. Takes 50 us.

        A filter that it has set takes the place of the arguments' and of the client's own; the filter template of the
        API's owner holds beside it. What it wants the subscription to be ended by does so beside the owner's template.

        Args:
            draft: see `begin`.
            resolved: what the resolver came to for this subscriber.
            identity: who it is.
            access: which fields are open to it now; None: all.

        Raises:
            RefusedByResolver: it has added errors.
            BadRequest: a filter that it has set, or one of the client's that stands, is not acceptable.
            FieldDenied, Unauthorized: as `begin`.
        """
        if resolved.errors:
            raise RefusedByResolver(resolved.errors, draft.projection)
        assert draft.resolver is not None
        try:
            resolution = Resolution(
                draft.resolver.version,
                self._read_resolved(resolved.filter),
                self._read_resolved(resolved.invalidation_filter),
            )
        except FilterError as error:
            held_back = self._log_limit.admit()
            if held_back is not None:  # the client can do nothing about it
                text = "Subscription.%s: a filter that its resolver has set is not acceptable: %s%s"
                _logger.warning(text, draft.field_name, error.message, tell_held_back(held_back))
            raise BadRequest(error.message, error_code=error.error_code) from None
        return self._complete(draft, resolution, identity, access)

    def template_arguments(self, field: str) -> frozenset[str]:
        """The arguments that the templates of a subscription field need, whatever the schema says of them."""
        templates = (self._templates.get(field), self._invalidations.get(field))
        return frozenset().union(*(template.arguments for template in templates if template is not None))

    @property
    def invalidation_fields(self) -> Collection[str]:
        """The subscription fields that have an invalidation filter, or a resolver that may set one."""
        return dict.fromkeys((*self._invalidations, *self._resolvers)).keys()

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
        filter may differ in the arguments that a new template asks for. So does another resolver; what the same one
        has set stands, and it is not run again.
        """
        field = plan.field
        if self._configured.get(field) != former._configured.get(field):
            return Changed()
        resolver = self._resolvers.get(field)
        version = None if resolver is None else resolver.version
        if version != (None if plan.resolution is None else plan.resolution.version):
            return Changed()
        source = plan.source
        request = SubscribeRequest(source.query, source.operation_name, orjson.loads(source.variables), {})
        identity = identity or plan.identity or _NOBODY
        try:
            planned = self.begin(request, identity, access)
            if isinstance(planned, Draft):
                planned = self._complete(planned, plan.resolution, identity, access)
        except ClientFault as fault:
            return fault
        # The other filter too: an argument of another type would leave it waiting for payloads of the former one.
        return planned if planned.filter_keys == plan.filter_keys else Changed()

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

    def _draft(self, request: SubscribeRequest, name: str | None, variables: bytes) -> Draft:
        operation = self._operations.read(request.query, name)
        values = self._operations.coerce_variables(operation, request.variables)
        try:
            arguments = get_argument_values(operation.field, operation.root, values)
            projection = self._operations.find_projection(operation, values)
        except GraphQLError as error:
            raise refuse([error]) from None
        # With the operation's own text, so that equal texts are held once; weighed as if they were not.
        source = PlanSource(operation.query, name, variables)
        field_name = operation.field_name
        return Draft(field_name, operation.field, arguments, projection, source, self._resolvers.get(field_name))

    def _complete(self, draft: Draft, resolution: Resolution | None, identity: Identity, access: Access | None) -> Plan:
        """The plan, with what the resolver has set; the draft's selection itself is checked too."""
        field_name, arguments = draft.field_name, draft.arguments
        template, invalidating = self._templates.get(field_name), self._invalidations.get(field_name)
        narrowing = resolution.filter if resolution else None
        filtered: tuple[Place, ...] = ()
        try:
            if narrowing is None:
                narrowing = read_enhanced_filter(draft.field, arguments, self._limits)
                if narrowing is not None:
                    filtered = self._find_filtered(field_name, draft.field, narrowing)
            if access is not None:
                self.verdicts.check(Asked(draft.projection, filtered), access)
            if template is None:
                filter_ = read_plain_filter(draft.field, arguments, self._limits) if narrowing is None else narrowing
            else:
                filled = template.fill(arguments, identity)
                filter_ = filled if narrowing is None else intersect_filters(filled, narrowing)
            invalidation = invalidating.fill(arguments, identity) if invalidating else None
        except FilterError as error:
            raise BadRequest(error.message, error_code=error.error_code) from None
        if resolution is not None and resolution.invalidation is not None:
            ending = resolution.invalidation
            invalidation = ending if invalidation is None else unite_filters(invalidation, ending)
        is_by_identity = any(each is not None and each.uses_identity for each in (template, invalidating))
        return Plan(
            field_name,
            filter_,
            draft.projection,
            draft.source,
            identity if is_by_identity else None,
            invalidation,
            filtered,
            resolution,
        )

    def _read_resolved(self, given: object) -> Filter | None:
        """A filter as a resolver has set it; one object for equal ones."""
        if given is None:
            return None
        parsed = parse_filter(given, self._limits)
        known = self._resolved.get(parsed.key)
        if known is None:
            self._resolved.put(parsed.key, parsed, len(parsed.key))
        return known or parsed

    def _find_filtered(self, field_name: str, field: GraphQLField, enhanced: Filter) -> tuple[Place, ...]:
        key = (field_name, enhanced.paths)
        places = self._filtered.get(key)
        if places is None:
            places = list_path_places(self._schema, field.type, key[1])
            self._filtered.put(key, places)
        return places


def _write_variables(variables: Mapping[str, Any]) -> bytes:
    try:
        # Copied, because it is kept: what orjson returns holds on to its whole buffer, 1 KB at least.
        return bytes(memoryview(orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)))
    except orjson.JSONEncodeError:
        raise BadRequest("The variables cannot be written as JSON: they are nested too deeply.") from None
