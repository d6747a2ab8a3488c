"""What operators see of the live connections of this process, and do to them. Knows no HTTP and no Redis.

Each of these walks once through all connections, which takes about 0.1 us each: an operator's call is rare, and an
index by identity would be paid for by every connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from fanout.engine import Group, Registry
from fanout.errors import BadRequest, ClientFault, SubscriptionEnded, Unauthorized
from fanout.gateway.gateway import Connection, Gateway
from fanout.gateway.subscriptions import Subscriber
from fanout.metrics import Metrics
from fanout.model import CloseReason, Identity
from fanout.planning import Changed, Plan
from fanout.protocol import Session

logger = logging.getLogger("fanout.gateway")

_EXPIRED = CloseReason.UNAUTHORIZED.label


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """One connection for an operator.

    Args:
        id: names it on all gateways.
        identity: mode and subject.
        address: the client's, or the last proxy's.
        dialect: what it speaks.
        since_ms: when it came, in ms since 1970 by the clock that the system had when this process started.
        subscriptions: how many it has, pending ones included.
    """

    id: str
    identity: Identity
    address: str
    dialect: str
    since_ms: int
    subscriptions: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How many connections were closed, and how many subscriptions were ended.

    By an invalidation, subscriptions are those that matched; else all of the closed connections count too.
    """

    connections: int = 0
    subscriptions: int = 0


Outcome = Plan | Changed | ClientFault
"""What has become of a plan."""

Replan = Callable[[Plan], Outcome]
"""From the plan of a group, or of a subscription, to what has become of it in the API that is about to be served."""


FindDenial = Callable[[Plan, Identity], ClientFault | None]
"""What keeps a plan from being an identity's; None: nothing. Called once for each pair of plan and identity."""


class Oversight:
    """The operator's side of a gateway.

    Args:
        gateway: whose connections.
        registry: the groups of its subscriptions.
        metrics: `subscriptions_ended` is counted.
        clock: seconds, as `time.perf_counter`.
    """

    def __init__(
        self, gateway: Gateway, registry: Registry, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._registry = registry
        self._metrics = metrics
        self._prefix = secrets.token_hex(4)
        # By the system's clock as it is now, so that a connection's time is the same in every list.
        self._epoch_ms = int(time.time() * 1000) - gateway.wheel.now_ms()

    def list_connections(self, after: str = "", limit: int = 100, subject: str = "") -> list[ConnectionInfo]:
        """Connections of this process in the order of their ids, which is that of their coming.

        Args:
            after: only those behind this id, for the next page; the connection itself may be gone by now.
            limit: how many at most.
            subject: only those of this identity; empty: all.

        Raises:
            BadRequest: `after` is no id of this process: another gateway gave it, which has other connections.
        """
        behind = self._parse_id(after)
        if after and behind is None:
            raise BadRequest(
                "after: this is no id of the gateway that answers; ask the one that gave it, or begin anew"
            )
        found = [
            connection
            for connection in self._gateway.connections
            if (behind is None or connection.serial > behind)
            and (not subject or (connection.identity is not None and connection.identity.subject == subject))
        ]
        found.sort(key=lambda connection: connection.serial)
        return [self._describe(connection) for connection in islice(found, limit)]

    def close_identity(self, subject: str) -> Ended:
        """Close all connections of an identity, and end its subscriptions on the connections of others."""
        return self._close(
            [
                each
                for each in self._gateway.connections
                if each.identity is not None and each.identity.subject == subject
            ],
            lambda connection: connection.close(CloseReason.CLOSED_BY_OPERATOR),
            lambda identity: identity.subject == subject,
            SubscriptionEnded("The subscription was ended by the operator."),
            CloseReason.CLOSED_BY_OPERATOR.label,
        )

    def close_connection(self, id: str) -> Ended:
        """Close the connection with an id from `list_connections`; none if it is another gateway's, or gone."""
        serial = self._parse_id(id)
        return self._close(
            [each for each in self._gateway.connections if each.serial == serial],
            lambda connection: connection.close(CloseReason.CLOSED_BY_OPERATOR),
        )

    def revoke(self, holds: Callable[[Identity], bool]) -> Ended:
        """Close the connections whose credentials do not hold any more, and end such subscriptions of others.

        Args:
            holds: asked once per distinct identity.
        """
        answers: dict[int, bool] = {}

        def is_held(identity: Identity) -> bool:
            answer = answers.get(id(identity))
            if answer is None:
                answer = answers[id(identity)] = holds(identity)
            return answer

        return self._close(
            [each for each in self._gateway.connections if each.identity is not None and not is_held(each.identity)],
            lambda connection: connection.perform(_session(connection).revoked()),
            lambda identity: not is_held(identity),
            Unauthorized(),
            CloseReason.UNAUTHORIZED.label,
        )

    @property
    def guests_expire_at(self) -> float:
        """When to call `end_expired_guests`, in seconds since 1970; infinity for never."""
        return self._gateway.subscriptions.guests.expire_at

    def end_expired_guests(self, now: float) -> Ended:
        """End the subscriptions on connections of others whose credentials have expired.

        A connection whose own credentials expire is closed by its own clock.
        """
        expired = self._gateway.subscriptions.guests.find_expired(now)
        return Ended(subscriptions=self._end_guests(expired, Unauthorized(), _EXPIRED))

    def invalidate(self, field: str, payload: object) -> Ended:
        """End the subscriptions on a field whose invalidation filters match a payload (parsed JSON)."""
        ids_by_connection: defaultdict[Connection, list[str]] = defaultdict(list)
        matched = self._gateway.subscriptions.invalidations.match(field, payload)
        for subscriber, id in matched:
            ids_by_connection[subscriber].append(id)  # type: ignore[index]  # a gateway's subscribers are connections

        def end(connection: Connection) -> None:
            for id in ids_by_connection[connection]:
                self._gateway.subscriptions.end(connection, id)
            connection.invalidate(ids_by_connection[connection])

        closed = 0
        for connection in ids_by_connection:
            self._perform(connection, end)
            closed += connection not in self._gateway.connections
        self._metrics.subscriptions_ended[CloseReason.INVALIDATED.label] += len(matched)
        return Ended(closed, len(matched))

    async def change_api(self, replan: Replan, commit: Callable[[], None]) -> Ended:
        """Let another API be served without closing what is still valid in it.

        Subscriptions that are valid go on; those that are not are told and ended; those that would get other events
        are closed with a reason that makes clients connect and subscribe again. What is planned anew, is so in
        turns of `work_budget_ms`, as messages of clients are, while the present API is served; then all is changed in
        one step of the event loop. Turns get longer as long as new groups keep coming, so that this ends whatever
        clients do.

        Args:
            replan: says what becomes of a group's plan; called once for that of each group, and for each
                that a subscription has of its own.
            commit: called in that one step, before anybody is told: from then on the other API is served.
        """
        # By the plan's id, which is no other's as long as the plan is kept beside.
        outcomes: dict[int, tuple[Plan, Outcome]] = {}
        budget_seconds = self._gateway.settings.work_budget_ms / 1000
        is_complete = False
        while not is_complete:
            # Looked for again when all of these are planned, not at every turn: there can be 100,000.
            missing = {id(plan): plan for plan in self._list_plans() if id(plan) not in outcomes}
            is_complete = True
            ends_at = self._clock() + budget_seconds
            for plan_id, plan in missing.items():
                outcomes[plan_id] = (plan, replan(plan))
                if self._clock() >= ends_at:
                    is_complete = False  # others may have come while the event loop turned
                    await asyncio.sleep(0)
                    ends_at = self._clock() + budget_seconds
            budget_seconds *= 2
        commit()
        by_group = {group: outcomes[id(group.plan)][1] for group in self._registry.groups if group.plan is not None}
        own_plans = self._gateway.subscriptions.own_plans
        by_place = {place: outcomes[id(plan)][1] for place, plan in own_plans.items()}
        kept = {group: plan for group, plan in by_group.items() if isinstance(plan, Plan)}
        self._registry.replace_projections({group: plan.projection for group, plan in kept.items()})
        for group, plan in kept.items():
            group.plan = plan
        for place, outcome in by_place.items():
            if isinstance(outcome, Plan):
                subscriber, subscription_id = place
                held = subscriber.subscriptions.get(subscription_id)
                shared = kept.get(held.group) if held is not None and held.group is not None else None
                if shared is not None and shared.projection.key == outcome.projection.key:
                    own_plans[place] = outcome
                else:  # valid by itself, but not any more as one of this group
                    by_place[place] = Changed()
        return self._end_changed(by_group, by_place)

    def end_denied(self, find_denial: FindDenial) -> Ended:
        """End the subscriptions that are not open any more to who started them, after a change of the rules.

        Walks through all subscriptions: 0.5 us for each where something is restricted, 0.2 us where nothing is.
        """
        subscriptions = self._gateway.subscriptions
        guests = subscriptions.guests
        answers: dict[tuple[int, int], ClientFault | None] = {}
        denied: list[tuple[Connection, str, ClientFault]] = []
        for connection in self._gateway.connections:
            for subscription_id, held in connection.subscriptions.items():
                plan = subscriptions.plan_of(connection, subscription_id, held)
                identity = guests.get(connection, subscription_id) or connection.identity
                if plan is None or identity is None:
                    continue  # it is being decided whose it is: by the new rules
                # All of these plans and identities live, so that no two have the same id.
                place = (id(plan), id(identity))
                if place not in answers:
                    answers[place] = find_denial(plan, identity)
                fault = answers[place]
                if fault is not None:
                    denied.append((connection, subscription_id, fault))
        for connection, subscription_id, fault in denied:
            self._end(connection, subscription_id, fault, CloseReason.UNAUTHORIZED.label)
        return Ended(subscriptions=len(denied))

    def _list_plans(self) -> Iterator[Plan]:
        for group in self._registry.groups:
            if group.plan is not None:
                assert isinstance(group.plan, Plan)
                yield group.plan
        yield from self._gateway.subscriptions.own_plans.values()

    def _end_changed(
        self, by_group: Mapping[Group, Outcome], by_place: Mapping[tuple[Subscriber, str], Outcome]
    ) -> Ended:
        """What has become of a subscription's own plan goes before what has become of its group's."""
        closed = ended = 0
        if all(isinstance(outcome, Plan) for outcomes in (by_group, by_place) for outcome in outcomes.values()):
            return Ended()
        for connection in list(self._gateway.connections):
            for id, held in list(connection.subscriptions.items()):
                if held.group is None:
                    continue
                outcome = by_place.get((connection, id)) or by_group.get(held.group)
                if isinstance(outcome, ClientFault):
                    ended += 1
                    self._end(connection, id, outcome, "schema-changed")
                elif isinstance(outcome, Changed):
                    closed += 1
                    ended += len(connection.subscriptions)
                    self._perform(connection, lambda connection: connection.close(CloseReason.API_CHANGED))
                    break
        return Ended(closed, ended)

    def _close(
        self,
        connections: list[Connection],
        close: Callable[[Connection], None],
        is_meant: Callable[[Identity], bool] | None = None,
        fault: ClientFault | None = None,
        label: str = "",
    ) -> Ended:
        subscriptions = 0
        for connection in connections:
            subscriptions += len(connection.subscriptions)
            self._perform(connection, close)
        if is_meant is not None and fault is not None:
            subscriptions += self._end_guests(self._gateway.subscriptions.guests.find(is_meant), fault, label)
        return Ended(len(connections), subscriptions)

    def _end_guests(self, places: list[tuple[Subscriber, str]], fault: ClientFault, label: str) -> int:
        for subscriber, id in places:
            self._end(subscriber, id, fault, label)  # type: ignore[arg-type]  # as in `invalidate`
        return len(places)

    def _end(self, connection: Connection, id: str, fault: ClientFault, label: str) -> None:
        if id not in connection.subscriptions:
            return  # the connection was closed on the way here

        def end(connection: Connection) -> None:
            self._gateway.subscriptions.end(connection, id)
            connection.perform(_session(connection).ended(id, fault))

        self._perform(connection, end)
        self._metrics.subscriptions_ended[label] += 1

    def _perform(self, connection: Connection, act: Callable[[Connection], None]) -> None:
        """Do something to one connection; a defect in it is logged, ends this one, and spares none of the others."""
        try:
            act(connection)
        except Exception:  # our defect with one connection
            logger.exception("a connection could not be told what has ended, it is closed")
            try:
                connection.close(CloseReason.INTERNAL_ERROR)
            except Exception:  # it counts as closing from the first step on, and its clock cuts it off
                logger.exception("a connection could not be closed, it is cut off soon")

    def _describe(self, connection: Connection) -> ConnectionInfo:
        assert connection.identity is not None
        return ConnectionInfo(
            id=f"{self._prefix}-{connection.serial:x}",
            identity=connection.identity,
            address=connection.peer_address,
            dialect=_session(connection).dialect.name.value,
            since_ms=self._epoch_ms + self._gateway.came_ms(connection.serial),
            subscriptions=len(connection.subscriptions),
        )

    def _parse_id(self, id: str) -> int | None:
        prefix, _, serial = id.partition("-")
        if prefix != self._prefix:
            return None
        try:
            return int(serial, 16)
        except ValueError:
            return None


def _session(connection: Connection) -> Session:
    assert connection.session is not None
    return connection.session
