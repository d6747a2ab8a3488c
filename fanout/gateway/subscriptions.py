"""From a plan to a live subscription, and to its end: register, acknowledge, go live. The control path.

Promise 1 (live before ack) is kept here: a subscriber is acknowledged in the same step of the event loop in
which it becomes live, and not before every router can see the buckets of its group. One that asks for positions, or
gives one, is acknowledged when its group is registered and it is known where it begins; everything from there on
reaches it, first from the streams' past (`fanout.engine.CatchUp`), then live.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Protocol

from fanout.engine import CatchUp, Group, Joining, Pending, Registry, Subscription, Token
from fanout.engine.registry import JoinParts
from fanout.errors import BadRequest, ClientFault
from fanout.gateway.backlog import Backlogs, Reader
from fanout.gateway.decisions import Holds, Waiting
from fanout.gateway.guests import Guests
from fanout.gateway.invalidation import Invalidations
from fanout.gateway.limits import Limits
from fanout.gateway.overflow import Keeper, name_policy
from fanout.gateway.starts import Authorize, Planner, Recheck, Starts
from fanout.metrics import Metrics
from fanout.model import Bucket, CloseReason, DialectName, Identity, Overflow, OverflowPolicy
from fanout.planning import Plan
from fanout.protocol import Dialect, Subscribe, join_parts, join_parts_deflated
from filters import Filter

logger = logging.getLogger("fanout.gateway")


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

    __slots__ = ("_subscriber", "_subscriptions", "_wish")

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
        self._wish = wish
        self._subscriber = subscriber
        self._subscriptions = subscriptions

    def begin(self, position: bytes) -> None:
        told = position.decode() if self.group.is_positioned else None
        self._subscriber.acknowledge(self._wish.id, self._wish.token, told)

    def refuse(self, fault: ClientFault) -> None:
        self._subscriptions.refuse(self._subscriber, self._wish, fault)

    def write(self, data: bytes) -> None:
        self._subscriber.write(data)

    @property
    def is_congested(self) -> bool:
        return self._subscriber.is_congested

    def go_live(self) -> None:
        self._subscriptions.make_live(self._subscriber, self._wish.id, self)

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
        self._directory = directory
        self._metrics = metrics
        self.invalidations = Invalidations()
        self.guests = Guests()
        self.own_plans: dict[tuple[Subscriber, str], Plan] = {}
        """What a wish came to, by connection and id, where its group's plan does not stand for it."""
        self.backlogs = backlogs
        self._catch_up = catch_up
        self._read_token = read_token
        self._recheck = recheck
        self._starts = Starts(
            authorize,
            plan,
            recheck,
            holds,
            limits,
            longest_resolving_ms,
            self.invalidations,
            self.guests,
            metrics,
            self._subscribe,
        )
        self._registering: dict[Group, asyncio.Task[None]] = {}
        self._framings: dict[tuple[DialectName, bool, bool], tuple[str, JoinParts]] = {}

    def start(self, subscriber: Subscriber, wish: Subscribe) -> None:
        """Make the subscriber live and acknowledge it: at once if its group is registered, else when it is.

        A client's mistake is answered as a rejection. Never waits; a group's first subscriber costs one task
        and its share of one Redis round trip, all others a few dict operations.
        """
        self._starts.begin(subscriber, wish)

    def _subscribe(self, subscriber: Subscriber, wish: Subscribe, identity: Identity, plan: Plan) -> None:
        extensions = wish.request.extensions
        try:
            overflow = extensions.overflow
            _check_overflow(overflow, plan)
            after = None if extensions.after is None else self._read_token(extensions.after)
        except ClientFault as fault:
            self._starts.reject(subscriber, wish, fault)
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
        self.guests.note(subscriber, wish.id, identity)
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
        self.guests.forget(subscriber, id)
        if isinstance(ended, Waiting):
            self._starts.give_up(ended)
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
            if plan is None or self.guests.get(subscriber, subscription_id) is not None:
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

    def refuse(self, subscriber: Subscriber, wish: Subscribe, fault: ClientFault) -> None:
        """End what was to catch up, and tell the client its mistake."""
        self.end(subscriber, wish.id)
        self._starts.reject(subscriber, wish, fault)

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
