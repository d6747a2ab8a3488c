"""What the API is and what a client asks of it: SDL, documents, filters from arguments, projections. Pure.

    sdl         SDL text -> ApiSchema (directives, scalars: AppSync's parts of it)
    documents   text of a client -> valid document (wording: AppSync's texts for mistakes)
    operations  text of a client -> the one subscription that is meant by it
    planner     SubscribeRequest -> Plan (plans): field + filter (arguments, templates) + projection (selection)
    drafts      a subscription before its field's resolver has run
    execution   document -> response + events, by resolvers where fields have them
    mutations   what a mutation without a resolver results in
    results     what a mutation's result can be
    resolving   what goes into resolvers and comes out of them
    api         all of it for one schema, replaced at once by a reload

Knows nothing of connections, Redis or HTTP; nothing here waits but for resolvers.
"""

from fanout.schema.api import Api, Planned
from fanout.schema.arguments import build_limits
from fanout.schema.drafts import RefusedByResolver
from fanout.schema.execution import ExecutionResult, Executor
from fanout.schema.field_calls import Begin, Wait
from fanout.schema.planner import SubscriptionPlanner
from fanout.schema.plans import Changed, Plan, PlanSource, Resolution
from fanout.schema.projection import PAYLOAD_TOO_LARGE, Projection
from fanout.schema.resolving import (
    Caller,
    Invalidate,
    Invocation,
    Resolved,
    Resolver,
    ResolverFault,
    Resolvers,
    SelectionText,
)
from fanout.schema.results import describe_mismatch
from fanout.schema.sdl import CHAT_SDL_PATH, ApiSchema, load_chat_schema, parse_schema

__all__ = [
    "Api",
    "ApiSchema",
    "CHAT_SDL_PATH",
    "load_chat_schema",
    "parse_schema",
    "Changed",
    "Plan",
    "Planned",
    "RefusedByResolver",
    "Resolution",
    "PlanSource",
    "Projection",
    "PAYLOAD_TOO_LARGE",
    "SubscriptionPlanner",
    "Executor",
    "ExecutionResult",
    "Begin",
    "Wait",
    "build_limits",
    "Caller",
    "Invalidate",
    "Invocation",
    "Resolved",
    "Resolver",
    "ResolverFault",
    "Resolvers",
    "SelectionText",
    "describe_mismatch",
]
