"""From a client's wish to a live subscription: authorize, plan, register, acknowledge. The control path.

Promise 1 (live before ack) is kept here: a subscriber is acknowledged in the same step of the event loop in
which it becomes live, and not before every router can see the buckets of its group. One that asks for positions, or
gives one, is acknowledged when its group is registered and it is known where it begins; everything from there on
reaches it, first from the streams' past (`fanout.engine.CatchUp`), then live.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Protocol

from fanout.api import Planned
from fanout.engine import CatchUp, Group, Joining, Pending, Registry, Subscription, Token
from fanout.engine.registry import JoinParts
from fanout.errors import BadRequest, ClientFault
from fanout.gateway.backlog import Backlogs, Reader
from fanout.gateway.calls import describe_subscribe
from fanout.gateway.decisions import Deciding, Finish, Holds, Planning, Waiting, read_decision, read_plan, wait_for_plan
from fanout.gateway.invalidation import Invalidations
from fanout.gateway.limits import Limits
from fanout.gateway.overflow import Keeper, name_policy
from fanout.metrics import Metrics
from fanout.model import Bucket, Call, CloseReason, DialectName, Identity, Overflow, OverflowPolicy, SubscribeRequest
from fanout.planning import Plan
from fanout.protocol import Dialect, Subscribe, join_parts, join_parts_deflated
from filters import Filter

logger = logging.getLogger("fanout.gateway")

Planner = Callable[[SubscribeRequest, Identity], Planned]
"""What is subscribed to; raises ClientFault, or what it returns to be awaited and called does."""
Authorize = Callable[[Call], Identity | Awaitable[Identity]]
"""Who wants to subscribe; raises Unauthorized, or its awaitable does."""
Recheck = Callable[[Plan, Identity], ClientFault | None]
"""What keeps a subscription that was planned before from going on for an identity; None: nothing."""


class BucketDirectory(Protocol):
    """What is needed of the bus: where routers look up who wants an event."""

    def register(self, buckets: Iterable[Bucket]) -> Coroutine[None, None, None]:
        """Returns once every router sees the buckets. Cancelled, it leaves nothing registered."""
        ...

    def release(self, buckets: Iterable[Bucket]) -> None: ...


Held = Subscription | Pending | Joining | Waiting
"""What a connection holds for an id: a live subscription, or one on its way."""


class Subscriber(Reader, Protocol):
    """What is needed of a connection."""

    subscriptions: dict[str, Held]
    """By id."""
    identity: Identity | None
    """Who it is; None before it is authorized."""

    @property
    def peer_address(self) -> str: ...

    def take_turn(self, work: Callable[[], None]) -> None:
        """Do this when it is the client's turn, after what it has brought before; not at all if it is gone by then."""
        ...

    def acknowledge(self, id: str, token: int, position: str | None = None) -> None: ...

    def reject(self, id: str, token: int, fault: ClientFault) -> None: ...

    def invalidate(self, ids: Iterable[str]) -> None:
        """Tell the client that these are invalidated, which have been ended; the dialect may close the connection."""
        ...

    @property
    def dialect(self) -> Dialect: ...

    @property
    def can_be_sent_deflated(self) -> bool: ...

    @property
    def is_congested(self) -> bool:
        """Whether what can wait should; `Subscriptions.redirect` is called when it is not so any more."""
        ...

    def close(self, reason: CloseReason, detail: str = "") -> None: ...


class _Joiner(Joining):
    """A subscriber that catches up."""

    __slots__ = ("_id", "_subscriber", "_subscriptions", "_token")

    def __init__(
        self,
        group: Group,
        filter: Filter,
        after: Token | None,
        wish: Subscribe,
        subscriber: Subscriber,
        subscriptions: Subscriptions,
    ) -> None:
        super().__init__(group, filter, wish.id_bytes, after)
        self._id = wish.id
        self._token = wish.token
        self._subscriber = subscriber
        self._subscriptions = subscriptions

    def begin(self, position: bytes) -> None:
        told = position.decode() if self.group.is_positioned else None
        self._subscriber.acknowledge(self._id, self._token, told)

    def refuse(self, fault: ClientFault) -> None:
        self._subscriptions.end(self._subscriber, self._id)
        self._subscriptions.reject(self._subscriber, self._id, self._token, fault)

    def write(self, data: bytes) -> None:
        self._subscriber.write(data)

    @property
    def is_congested(self) -> bool:
        return self._subscriber.is_congested

    def go_live(self) -> None:
        self._subscriptions.make_live(self._subscriber, self._id, self)

    def miss(self, reason: str) -> None:
        self._subscriber.close(CloseReason.EVENTS_MISSED, f"{CloseReason.EVENTS_MISSED.text} ({reason})")


class Subscriptions:
    """Starts and ends the subscriptions of all connections of one gateway."""

    def __init__(
        self,
        registry: Registry,
        authorize: Authorize,
        plan: Planner,
        directory: BucketDirectory,
        metrics: Metrics,
        limits: Limits,
        backlogs: Backlogs,
        catch_up: CatchUp,
        read_token: Callable[[str], Token],
        recheck: Recheck,
        holds: Holds,
        longest_resolving_ms: int,
    ) -> None:
        self._registry = registry
        self._authorize = authorize
        self._plan = plan
        self._directory = directory
        self._metrics = metrics
        self._limits = limits
        self.invalidations = Invalidations()
        self.guests: dict[tuple[Subscriber, str], Identity] = {}
        """Who is behind a subscription, by connection and id, where that is not who is behind the connection.

        Those that are being resolved included, but not those of which it is being decided whose they are.
        """
        self.own_plans: dict[tuple[Subscriber, str], Plan] = {}
        """What a wish came to, by connection and id, where its group's plan does not stand for it."""
        self.guests_expire_at = math.inf
        """No guest's credentials end before, in seconds since 1970."""
        self.backlogs = backlogs
        self._catch_up = catch_up
        self._read_token = read_token
        self._recheck = recheck
        self._holds = holds
        self._longest_resolving_ms = longest_resolving_ms
        self._registering: dict[Group, asyncio.Task[None]] = {}
        self._framings: dict[tuple[DialectName, bool, bool], tuple[str, JoinParts]] = {}

    def start(self, subscriber: Subscriber, wish: Subscribe) -> None:
        """Make the subscriber live and acknowledge it: at once if its group is registered, else when it is.

        A client's mistake is answered as a rejection. Never waits; a group's first subscriber costs one task
        and its share of one Redis round trip, all others a few dict operations.
        """
        try:
            decision = self._authorize(describe_subscribe(wish.request, subscriber.peer_address))
        except ClientFault as fault:
            self.reject(subscriber, wish.id, wish.token, fault)
            return
        if isinstance(decision, Identity):
            self._start(subscriber, wish, decision)
        else:
            deciding = asyncio.ensure_future(decision)
            subscriber.subscriptions[wish.id] = Deciding(deciding)
            deciding.add_done_callback(functools.partial(self._decided, subscriber, wish))

    def _decided(self, subscriber: Subscriber, wish: Subscribe, deciding: asyncio.Future[Identity]) -> None:
        if not deciding.cancelled():
            # Many may have waited for one answer: each takes its turn, as if it came now.
            subscriber.take_turn(functools.partial(self._settle, subscriber, wish, deciding))

    def _settle(self, subscriber: Subscriber, wish: Subscribe, deciding: asyncio.Future[Identity]) -> None:
        outcome = read_decision(deciding, self._holds)
        held = subscriber.subscriptions.get(wish.id)
        if not isinstance(held, Deciding) or held.future is not deciding:
            return  # ended since it was decided
        del subscriber.subscriptions[wish.id]
        if isinstance(outcome, Identity):
            self._start(subscriber, wish, outcome)
        else:
            self.reject(subscriber, wish.id, wish.token, outcome)

    def _start(self, subscriber: Subscriber, wish: Subscribe, identity: Identity) -> None:
        try:
            if self._limits.is_active:
                self._check_limits(subscriber, identity)
            planned = self._plan(wish.request, identity)
        except ClientFault as fault:
            self.reject(subscriber, wish.id, wish.token, fault)
            return
        if isinstance(planned, Plan):
            self._subscribe(subscriber, wish, identity, planned)
        else:
            self._note_guest(subscriber, wish.id, identity)
            self._await_plan(subscriber, wish, identity, planned)

    def _await_plan(
        self, subscriber: Subscriber, wish: Subscribe, identity: Identity, planned: Awaitable[Finish]
    ) -> None:
        planning = Planning(
            asyncio.get_running_loop().create_task(wait_for_plan(planned, self._longest_resolving_ms)), identity
        )
        subscriber.subscriptions[wish.id] = planning
        self.invalidations.begin(planning)
        planning.future.add_done_callback(functools.partial(self._planned, subscriber, wish, planning))

    def _planned(
        self, subscriber: Subscriber, wish: Subscribe, planning: Planning, future: asyncio.Future[Finish]
    ) -> None:
        if not future.cancelled():
            future.exception()  # seen, since nobody looks if the client goes before it is its turn
            # Many end at once after an outage: each takes its turn, as if it came now.
            subscriber.take_turn(functools.partial(self._settle_plan, subscriber, wish, planning))

    def _settle_plan(self, subscriber: Subscriber, wish: Subscribe, planning: Planning) -> None:
        if subscriber.subscriptions.get(wish.id) is not planning:
            return  # ended since its resolver did
        outcome = read_plan(planning, self._holds)
        is_invalidated = isinstance(outcome, Plan) and self.invalidations.came_since(
            planning, outcome.field, outcome.invalidation
        )
        identity = planning.identity
        if not isinstance(outcome, Plan | ClientFault):  # the API has changed meanwhile
            self.invalidations.end(planning)
            self._await_plan(subscriber, wish, identity, outcome)
            return
        is_guest = (subscriber, wish.id) in self.guests
        if isinstance(outcome, Plan) and not is_guest and subscriber.identity not in (None, identity):
            # The connection was renewed meanwhile, and its subscriptions with it.
            identity = subscriber.identity
            outcome = self._recheck(outcome, identity) or outcome
        self.end(subscriber, wish.id)
        if is_invalidated:
            self._metrics.subscriptions_ended[CloseReason.INVALIDATED.label] += 1
            subscriber.invalidate([wish.id])
        elif isinstance(outcome, ClientFault):
            self.reject(subscriber, wish.id, wish.token, outcome)
        else:
            self._subscribe(subscriber, wish, identity, outcome)

    def _subscribe(self, subscriber: Subscriber, wish: Subscribe, identity: Identity, plan: Plan) -> None:
        extensions = wish.request.extensions
        try:
            overflow = extensions.overflow
            _check_overflow(overflow, plan)
            after = None if extensions.after is None else self._read_token(extensions.after)
        except ClientFault as fault:
            self.reject(subscriber, wish.id, wish.token, fault)
            return
        is_positioned = extensions.wants_positions
        framing, join = self._choose_framing(subscriber.dialect, subscriber.can_be_sent_deflated, is_positioned)
        if overflow.policy is not OverflowPolicy.CLOSE:
            framing += name_policy(overflow)
            join = Keeper(join, overflow, self.backlogs.note)
        group, is_new = self._registry.find_or_create(
            plan.field, plan.filter, plan.projection, framing, join, is_positioned
        )
        if is_new:
            group.plan = plan
        elif plan is not group.plan and isinstance(group.plan, Plan) and not group.plan.stands_for(plan):
            self.own_plans[subscriber, wish.id] = plan
        if plan.invalidation is not None:
            self.invalidations.add(plan.field, plan.invalidation, subscriber, wish.id)
        self._note_guest(subscriber, wish.id, identity)
        if is_positioned or after is not None:
            go_live = functools.partial(self._begin_catching_up, subscriber, wish, group, plan.filter, after)
        else:
            go_live = functools.partial(self._go_live, subscriber, wish.id, wish.id_bytes, wish.token, group)
        if group.is_registered:
            go_live()
            return
        pending = Pending(group, functools.partial(self._try_to_go_live, subscriber, wish.id, go_live))
        subscriber.subscriptions[wish.id] = pending
        group.waiting[pending] = None
        if is_new:
            self._registering[group] = asyncio.get_running_loop().create_task(self._register(group))

    def end(self, subscriber: Subscriber, id: str) -> None:
        """End a subscription, live or pending. Nothing happens for an id that has ended already."""
        ended = subscriber.subscriptions.pop(id, None)
        if self.guests:
            self.guests.pop((subscriber, id), None)
        if isinstance(ended, Waiting):
            ended.future.cancel()
            if isinstance(ended, Planning):
                self.invalidations.end(ended)
            return
        if ended is not None:
            self.invalidations.discard(ended.group.field, subscriber, id)
            if self.own_plans:
                self.own_plans.pop((subscriber, id), None)
        if isinstance(ended, Subscription):
            self.backlogs.forget(subscriber, ended)
            if self._registry.remove(ended):
                self._drop(ended.group)
        elif isinstance(ended, Joining):
            self._catch_up.leave(ended)
            ended.group.joining -= 1
            if ended.group.is_unused:
                self._drop(ended.group)
        elif ended is not None:
            del ended.group.waiting[ended]
            if ended.group.is_unused and not ended.group.is_registered:
                self._give_up(ended.group)

    def end_all(self, subscriber: Subscriber) -> None:
        """End all subscriptions of a connection that goes away."""
        for id in list(subscriber.subscriptions):
            self.end(subscriber, id)

    def renew(self, subscriber: Subscriber, identity: Identity) -> list[tuple[str, ClientFault]]:
        """End those of a connection's own subscriptions that may not go on by fresh credentials of its client.

        Returns:
            Their ids, and what each is to be told.
        """
        ended: list[tuple[str, ClientFault]] = []
        faults: dict[int, ClientFault | None] = {}  # by id: all of these plans live when this begins, none comes
        for subscription_id, held in list(subscriber.subscriptions.items()):
            plan = self.plan_of(subscriber, subscription_id, held)
            if plan is None or (subscriber, subscription_id) in self.guests:
                continue
            if id(plan) not in faults:
                faults[id(plan)] = self._recheck(plan, identity)
            fault = faults[id(plan)]
            if fault is not None:
                self.end(subscriber, subscription_id)
                ended.append((subscription_id, fault))
        if ended:
            self._metrics.subscriptions_ended[CloseReason.UNAUTHORIZED.label] += len(ended)
        return ended

    def plan_of(self, subscriber: Subscriber, id: str, held: Held) -> Plan | None:
        """What is decided by about what a connection holds: its own plan, or one that stands for it.

        None while it is being decided whose it is, or planned.
        """
        own = self.own_plans.get((subscriber, id)) if self.own_plans else None
        if own is not None or held.group is None:
            return own
        return held.group.plan if isinstance(held.group.plan, Plan) else None

    def redirect(self, subscriber: Subscriber) -> None:
        """Let all live subscriptions of a connection write through its present `write`, or wait."""
        for subscription in subscriber.subscriptions.values():
            if isinstance(subscription, Subscription):
                self.backlogs.redirect(subscriber, subscription)
            elif isinstance(subscription, Joining):
                self._catch_up.wake()

    def reject(self, subscriber: Subscriber, id: str, token: int, fault: ClientFault) -> None:
        """Tell a client its mistake."""
        self._metrics.refusals[fault.error_type] += 1
        subscriber.reject(id, token, fault)

    def make_live(self, subscriber: Subscriber, id: str, joining: Joining) -> None:
        """Make one live that has caught up and was acknowledged before."""
        joining.group.joining -= 1
        self._add(subscriber, id, joining.id_bytes, joining.group)

    async def stop(self) -> None:
        """Give up the registrations that are under way."""
        await self._catch_up.stop()
        tasks = list(self._registering.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _register(self, group: Group) -> None:
        await self._directory.register(group.buckets)
        del self._registering[group]
        group.is_registered = True
        while group.waiting:
            pending = next(iter(group.waiting))
            del group.waiting[pending]
            pending.go_live()
        if group.is_unused and group.is_registered:  # else it was dropped with the last who went live
            self._drop(group)

    def _try_to_go_live(self, subscriber: Subscriber, id: str, go_live: Callable[[], None]) -> None:
        try:
            go_live()
        except Exception:  # our defect with one of them must not leave the others waiting
            logger.exception("a subscription could not be made live")
            held = subscriber.subscriptions.get(id)
            if isinstance(held, Pending):  # its group does not know it any more
                held.group.waiting[held] = None
                self.end(subscriber, id)
            # It may have been told that it is live.
            subscriber.close(CloseReason.INTERNAL_ERROR)

    def _go_live(self, subscriber: Subscriber, id: str, id_bytes: bytes, token: int, group: Group) -> None:
        # The acknowledgement is written first, so that no data message can precede it.
        subscriber.acknowledge(id, token)
        self._add(subscriber, id, id_bytes, group)

    def _add(self, subscriber: Subscriber, id: str, id_bytes: bytes, group: Group) -> None:
        subscription = subscriber.subscriptions[id] = self._registry.add(group, id_bytes, subscriber.write)
        if subscriber.is_slow:
            self.backlogs.redirect(subscriber, subscription)

    def _note_guest(self, subscriber: Subscriber, id: str, identity: Identity) -> None:
        if identity is not subscriber.identity and identity != subscriber.identity:
            self.guests[subscriber, id] = identity
            self.guests_expire_at = min(self.guests_expire_at, identity.expires_at)

    def _check_limits(self, subscriber: Subscriber, identity: Identity) -> None:
        excess = self._limits.subscribe(subscriber, identity.subject)
        if excess is not None:
            raise excess.to_fault()

    def _begin_catching_up(
        self, subscriber: Subscriber, wish: Subscribe, group: Group, filter: Filter, after: Token | None
    ) -> None:
        group.joining += 1
        joiner = _Joiner(group, filter, after, wish, subscriber, self)
        subscriber.subscriptions[wish.id] = joiner
        self._catch_up.join(joiner)

    def _give_up(self, group: Group) -> None:
        # A registration that is cancelled takes back what it has done.
        self._registering.pop(group).cancel()
        self._registry.drop(group)

    def _drop(self, group: Group) -> None:
        group.is_registered = False
        self._registry.drop(group)
        self._directory.release(group.buckets)

    def _choose_framing(self, dialect: Dialect, is_deflated: bool, is_positioned: bool) -> tuple[str, JoinParts]:
        """How data messages are written to such a subscriber: a name, equal for equal bytes, and the function."""
        framing = self._framings.get((dialect.name, is_deflated, is_positioned))
        if framing is None:
            build = join_parts_deflated if is_deflated else join_parts

            def join(payloads: Sequence[bytes], id_length: int) -> list[bytes]:
                return build(payloads, dialect, id_length)

            name = f"{dialect.name.value}{'+deflate' * is_deflated}{'+positions' * is_positioned}"
            framing = self._framings[dialect.name, is_deflated, is_positioned] = (name, join)
        return framing


def _check_overflow(overflow: Overflow, plan: Plan) -> None:
    path = overflow.path
    if path and not plan.projection.selects(path):
        raise BadRequest(
            f"extensions.fanout.overflow.path: '{'.'.join(path)}' is not among what the subscription selects below "
            f"'{plan.field}' (names as in the payload, through no list)."
        )
