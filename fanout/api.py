"""The API that is served: a schema with what plans and executes on it. All of it is replaced at once by a reload.

Whoever serves holds one `Api` for life and asks it each time; nothing of a former schema is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from fanout.errors import ClientFault, FieldDenied, SubscriptionEnded, Unavailable
from fanout.execution.executor import ExecutionResult, Executor
from fanout.execution.field_calls import Wait, wait_for_ever
from fanout.model import Identity, SubscribeRequest
from fanout.planning.drafts import Draft, RefusedByResolver
from fanout.planning.planner import SubscriptionPlanner
from fanout.planning.plans import Changed, Plan
from fanout.schema.access import AccessOf, open_to_all
from fanout.schema.resolving import Caller, Resolved, ResolverFault, Resolvers
from fanout.schema.results import ResultKinds
from fanout.schema.sdl import ApiSchema
from fanout.settings import Settings

Planned: TypeAlias = "Plan | Callable[[], Awaitable[Callable[[], Planned]]]"
"""What planning comes to: a plan, or what has to be begun and waited for, and then be called for the same at last."""


class Api:
    """One schema, and what answers for it.

    Args:
        schema: checked.
        settings: limits and templates.
        access_of: which fields are open to whom.
        resolvers: what resolves fields that are not resolved by default.

    Raises:
        ConfigurationError: settings for a subscription field that does not exist, or a bad template.
    """

    __slots__ = ("_access_of", "_results", "executor", "planner", "resolvers", "schema")

    def __init__(
        self,
        schema: ApiSchema,
        settings: Settings,
        access_of: AccessOf = open_to_all,
        resolvers: Resolvers = MappingProxyType({}),
    ) -> None:
        self.schema = schema
        self.resolvers = resolvers
        self._access_of = access_of
        type_ = schema.graphql.subscription_type
        subscribing = {
            field: resolver for (name, field), resolver in resolvers.items() if type_ is not None and name == type_.name
        }
        self.planner = SubscriptionPlanner(schema, settings, subscribing)
        self.executor = Executor(schema, settings, resolvers)
        self._results = ResultKinds(schema)

    def become(self, other: Api) -> None:
        """Serve what `other` does from now on."""
        self.schema, self.planner, self.executor = other.schema, other.planner, other.executor
        self.resolvers = other.resolvers
        self._results = other._results
        self.open_as(other)

    def open_as(self, other: Api) -> None:
        """Open fields to whom `other`, an API of the same schema, opens them, and serve on."""
        self._access_of = other._access_of

    def plan(self, request: SubscribeRequest, identity: Identity) -> Planned:
        """What a wish to subscribe comes to; see `SubscriptionPlanner.begin`.

        Where the field has a resolver, what is returned runs it once: it has to be called and awaited. Its result has
        to be called when the client is subscribed, since by then another API may be served: then it begins anew.

        Raises:
            ClientFault: at once, or by what is awaited (`RefusedByResolver`), or by its result.
            Unavailable: by what is awaited: too many resolvers wait already.
        """
        planner = self.planner
        begun = planner.begin(request, identity, self._access_of(identity))
        return begun if isinstance(begun, Plan) else partial(self._resolve, planner, begun, request, identity)

    def preview(self, request: SubscribeRequest, identity: Identity) -> Plan:
        """The same, as if the field's resolver set nothing."""
        return self.planner.plan(request, identity, self._access_of(identity))

    async def _resolve(
        self, planner: SubscriptionPlanner, draft: Draft, request: SubscribeRequest, identity: Identity
    ) -> Callable[[], Planned]:
        assert draft.resolver is not None

        def finish() -> Planned:
            if planner is not self.planner:
                return self.plan(request, identity)
            return planner.finish(draft, resolved, identity, self._access_of(identity))

        resolved = Resolved(None)
        try:
            resolved = await draft.resolver.resolve(planner.invoke(draft, request, identity))
        except (ResolverFault, Unavailable) as error:
            if planner is not self.planner:  # what was to run it may be gone with the former API
                return finish
            if isinstance(error, ResolverFault):
                raise RefusedByResolver([error], draft.projection) from None
            raise
        return finish

    async def execute(
        self,
        query: str,
        variables: Mapping[str, Any] | None,
        operation_name: str | None,
        caller: Caller,
        wait: Wait = wait_for_ever,
    ) -> ExecutionResult:
        """See `Executor.execute`; waits for resolvers only."""
        access = self._access_of(caller.identity)
        outcome = self.executor.execute(query, variables, operation_name, access, caller, wait)
        return outcome if isinstance(outcome, ExecutionResult) else await outcome

    def recheck(self, plan: Plan, identity: Identity) -> ClientFault | None:
        """What keeps a plan made before from going on for an identity: it may not, or would get other events."""
        outcome = self.planner.replan(plan, self.planner, identity, self._access_of(identity))
        if isinstance(outcome, Changed):
            return SubscriptionEnded("The subscription would get other events by the new credentials: start it anew.")
        return outcome if isinstance(outcome, ClientFault) else None

    def find_denial(self, plan: Plan, identity: Identity) -> FieldDenied | None:
        """The field that keeps a plan of the schema that is served from being an identity's, if there is one.

        Takes 0.1 us where nothing is restricted, else 2 us.
        """
        access = self._access_of(identity)
        return None if access is None else self.planner.verdicts.find_denial(plan, access)

    def subscriptions_of(self, mutation: str) -> tuple[str, ...]:
        """Subscription fields that an event of this mutation reaches; empty where none is linked."""
        return self.schema.subscriptions_of(mutation)

    def route(self, mutation: str) -> tuple[str, ...] | None:
        """The same; None where there is no such mutation."""
        return self.schema.subscriptions_of(mutation) if mutation in self.schema.mutations else None

    def describe_mismatch(self, mutation: str, data: object) -> str:
        """Why `data` cannot be the result of a mutation; empty if it can be, or if there is no such mutation."""
        return self._results.describe_mismatch(mutation, data)
