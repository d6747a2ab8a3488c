"""From a client's wish to subscribe to whose it is, and what it comes to: authorize, plan, and wait where that waits.

Decided is at once what can be. What has to be asked of others (`decisions`) is waited for in one task, held by the
connection under the wish's id like a subscription, and takes its turn when it has come: after an outage, thousands come
together. Meanwhile the id may have been ended, the connection renewed, the API changed, or who asks put out.

Knows nothing of groups and registrations.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fanout.api import Planned
from fanout.errors import ClientFault
from fanout.gateway.calls import describe_subscribe
from fanout.gateway.decisions import (
    Deciding,
    Finish,
    Holds,
    Planning,
    Resolve,
    Waiting,
    read_decision,
    read_plan,
    wait_for_plan,
)
from fanout.gateway.guests import Guests
from fanout.gateway.invalidation import Invalidations
from fanout.gateway.limits import Limits
from fanout.metrics import Metrics
from fanout.model import Call, CloseReason, Identity, SubscribeRequest
from fanout.planning import Plan
from fanout.protocol import Subscribe

if TYPE_CHECKING:
    from fanout.gateway.subscriptions import Subscriber

Authorize = Callable[[Call], Identity | Awaitable[Identity]]
"""Who wants to subscribe; raises Unauthorized, or its awaitable does."""
Planner = Callable[[SubscribeRequest, Identity], Planned]
"""What is subscribed to; raises ClientFault, or what it returns to be called and awaited does."""
Recheck = Callable[[Plan, Identity], ClientFault | None]
"""What keeps a subscription that was planned before from going on for an identity; None: nothing."""


class Starts:
    """The wishes of all connections of one gateway, until each is a subscription or refused.

    Args:
        authorize: says whose a wish is.
        plan: says what it comes to.
        recheck: asked about a plan that was begun before its connection was renewed.
        holds: whether an identity that was decided may go on.
        limits: of subscriptions.
        longest_resolving_ms: how long a field's resolver may take.
        invalidations: told of wishes that are being resolved.
        guests: told whose they are.
        metrics: refusals are counted, and those who were put out.
        subscribe: goes on with a wish whose id is free, for whom it is and what it came to.
    """

    def __init__(
        self,
        authorize: Authorize,
        plan: Planner,
        recheck: Recheck,
        holds: Holds,
        limits: Limits,
        longest_resolving_ms: int,
        invalidations: Invalidations,
        guests: Guests,
        metrics: Metrics,
        subscribe: Callable[[Subscriber, Subscribe, Identity, Plan], None],
    ) -> None:
        self._authorize = authorize
        self._plan = plan
        self._recheck = recheck
        self._holds = holds
        self._limits = limits
        self._longest_resolving_ms = longest_resolving_ms
        self._invalidations = invalidations
        self._guests = guests
        self._metrics = metrics
        self._subscribe = subscribe

    def begin(self, subscriber: Subscriber, wish: Subscribe) -> None:
        """Find out whose a wish is and what it comes to. Never waits; a client's mistake is answered as a rejection."""
        try:
            decision = self._authorize(describe_subscribe(wish.request, subscriber.peer_address))
        except ClientFault as fault:
            self.reject(subscriber, wish, fault)
            return
        if isinstance(decision, Identity):
            self._begin_planning(subscriber, wish, decision)
        else:
            deciding = asyncio.ensure_future(decision)
            subscriber.subscriptions[wish.id] = Deciding(deciding)
            deciding.add_done_callback(functools.partial(self._decided, subscriber, wish))

    def give_up(self, waiting: Waiting) -> None:
        """Wait no more, for the connection does not hold it any more."""
        waiting.future.cancel()
        if isinstance(waiting, Planning):
            self._invalidations.end(waiting)

    def reject(self, subscriber: Subscriber, wish: Subscribe, fault: ClientFault) -> None:
        """Tell a client its mistake."""
        self._metrics.refusals[fault.error_type] += 1
        subscriber.reject(wish.id, wish.token, fault)

    def _decided(self, subscriber: Subscriber, wish: Subscribe, deciding: asyncio.Future[Identity]) -> None:
        if not deciding.cancelled():
            subscriber.take_turn(functools.partial(self._settle_decision, subscriber, wish, deciding))

    def _settle_decision(self, subscriber: Subscriber, wish: Subscribe, deciding: asyncio.Future[Identity]) -> None:
        outcome = read_decision(deciding, self._holds)
        held = subscriber.subscriptions.get(wish.id)
        if not isinstance(held, Deciding) or held.future is not deciding:
            return  # ended since it was decided
        del subscriber.subscriptions[wish.id]
        if isinstance(outcome, Identity):
            self._begin_planning(subscriber, wish, outcome)
        else:
            self.reject(subscriber, wish, outcome)

    def _begin_planning(self, subscriber: Subscriber, wish: Subscribe, identity: Identity) -> None:
        try:
            if self._limits.is_active:
                excess = self._limits.subscribe(subscriber, identity.subject)
                if excess is not None:
                    raise excess.to_fault()
            planned = self._plan(wish.request, identity)
        except ClientFault as fault:
            self.reject(subscriber, wish, fault)
            return
        if isinstance(planned, Plan):
            self._subscribe(subscriber, wish, identity, planned)
        else:
            self._guests.note(subscriber, wish.id, identity)
            self._await_plan(subscriber, wish, identity, planned)

    def _await_plan(self, subscriber: Subscriber, wish: Subscribe, identity: Identity, resolve: Resolve) -> None:
        planning = Planning(
            asyncio.get_running_loop().create_task(wait_for_plan(resolve, self._longest_resolving_ms)), identity
        )
        subscriber.subscriptions[wish.id] = planning
        self._invalidations.begin(planning)
        planning.future.add_done_callback(functools.partial(self._planned, subscriber, wish, planning))

    def _planned(
        self, subscriber: Subscriber, wish: Subscribe, planning: Planning, future: asyncio.Future[Finish]
    ) -> None:
        if not future.cancelled():
            future.exception()  # seen, since nobody looks if the client goes before it is its turn
            subscriber.take_turn(functools.partial(self._settle_plan, subscriber, wish, planning))

    def _settle_plan(self, subscriber: Subscriber, wish: Subscribe, planning: Planning) -> None:
        if subscriber.subscriptions.get(wish.id) is not planning:
            return  # ended since its resolver did
        identity = planning.identity
        outcome = read_plan(planning, self._holds)
        if not isinstance(outcome, Plan | ClientFault):  # the API has changed meanwhile
            self._invalidations.end(planning)
            self._await_plan(subscriber, wish, identity, outcome)
            return
        is_put_out = isinstance(outcome, Plan) and self._invalidations.came_since(
            planning, outcome.field, outcome.invalidation
        )
        is_guest = self._guests.get(subscriber, wish.id) is not None
        del subscriber.subscriptions[wish.id]
        self._invalidations.end(planning)
        self._guests.forget(subscriber, wish.id)
        if isinstance(outcome, Plan) and not is_guest and subscriber.identity not in (None, identity):
            # The connection was renewed meanwhile, and its subscriptions with it.
            identity = subscriber.identity
            outcome = self._recheck(outcome, identity) or outcome
        if is_put_out:
            self._metrics.subscriptions_ended[CloseReason.INVALIDATED.label] += 1
            subscriber.invalidate([wish.id])
        elif isinstance(outcome, ClientFault):
            self.reject(subscriber, wish, outcome)
        else:
            self._subscribe(subscriber, wish, identity, outcome)
