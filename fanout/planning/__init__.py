"""From a wish to subscribe to a plan: which events a subscriber gets, and what of them. Pure.

    operations  text of a client -> the one subscription that is meant by it
    arguments   arguments -> filter
    templates   the owner's filters, filled in for each subscriber
    drafts      a subscription before its field's resolver has run
    plans       field + filter + projection
    planner     all of it for one schema, kept for those who ask alike

Knows the schema; nothing of connections, Redis or HTTP, and nothing here waits.
"""

from fanout.planning.arguments import build_limits
from fanout.planning.drafts import RefusedByResolver
from fanout.planning.planner import SubscriptionPlanner
from fanout.planning.plans import Changed, Plan, PlanSource, Resolution

__all__ = [
    "Changed",
    "Plan",
    "PlanSource",
    "RefusedByResolver",
    "Resolution",
    "SubscriptionPlanner",
    "build_limits",
]
