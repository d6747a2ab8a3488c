"""The API that is served: a schema with what plans and executes on it. All of it is replaced at once by a reload.

Whoever serves holds one `Api` for life and asks it each time; nothing of a former schema is kept elsewhere.
"""

from __future__ import annotations

from fanout.errors import ClientFault, SubscriptionEnded
from fanout.model import Identity, SubscribeRequest
from fanout.schema.mutations import MutationExecutor
from fanout.schema.planner import Changed, Plan, SubscriptionPlanner
from fanout.schema.results import ResultKinds
from fanout.schema.sdl import ApiSchema
from fanout.settings import Settings


class Api:
    """One schema, and what answers for it.

    Args:
        schema: checked.
        settings: limits and templates.

    Raises:
        ConfigurationError: settings for a subscription field that does not exist, or a bad template.
    """

    __slots__ = ("_results", "executor", "planner", "schema")

    def __init__(self, schema: ApiSchema, settings: Settings) -> None:
        self.schema = schema
        self.planner = SubscriptionPlanner(schema, settings)
        self.executor = MutationExecutor(schema, settings)
        self._results = ResultKinds(schema)

    def become(self, other: Api) -> None:
        """Serve what `other` does from now on."""
        self.schema, self.planner, self.executor = other.schema, other.planner, other.executor
        self._results = other._results

    def plan(self, request: SubscribeRequest, identity: Identity) -> Plan:
        """See `SubscriptionPlanner.plan`."""
        return self.planner.plan(request, identity)

    def recheck(self, plan: Plan, identity: Identity) -> ClientFault | None:
        """What keeps a plan made before from going on for an identity: it may not, or would get other events."""
        outcome = self.planner.replan(plan, self.planner, identity)
        if isinstance(outcome, Changed):
            return SubscriptionEnded("The subscription would get other events by the new credentials: start it anew.")
        return outcome if isinstance(outcome, ClientFault) else None

    def subscriptions_of(self, mutation: str) -> tuple[str, ...]:
        """Subscription fields that an event of this mutation reaches; empty where none is linked."""
        return self.schema.subscriptions_of(mutation)

    def route(self, mutation: str) -> tuple[str, ...] | None:
        """The same; None where there is no such mutation."""
        return self.schema.subscriptions_of(mutation) if mutation in self.schema.mutations else None

    def describe_mismatch(self, mutation: str, data: object) -> str:
        """Why `data` cannot be the result of a mutation; empty if it can be, or if there is no such mutation."""
        return self._results.describe_mismatch(mutation, data)
