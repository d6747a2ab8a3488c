"""The gateway: all WebSocket connections of one process. Wires connections to sessions, clock and subscriptions."""

from __future__ import annotations

import asyncio
import functools
import http
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Protocol

from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from fanout.engine import Subscription, Wheel
from fanout.errors import ClientFault, Unauthorized
from fanout.gateway.addresses import FORWARDED_HEADER, AddressReader
from fanout.gateway.admission import Admission, Refused
from fanout.gateway.calls import describe_connect
from fanout.gateway.decisions import Holds, read_decision
from fanout.gateway.limits import Limits
from fanout.gateway.subscriptions import Held, Subscriber, Subscriptions
from fanout.gateway.turns import Turns, Worker
from fanout.gateway.websocket import Handshake
from fanout.metrics import Metrics
from fanout.model import Call, CloseReason, DialectName, Identity
from fanout.origins import Origins
from fanout.protocol import Effect, Refusal, Session, negotiate
from fanout.settings import Settings

# Of a connection's serial: more connections than that do not come within one millisecond.
_NUMBER_BITS = 20
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1
_GOLDEN, _HASH_MASK = 0x9E3779B1, 0xFFFFFFFF  # Knuth, The Art of Computer Programming, vol. 3, section 6.4

_FOREIGN_PAGE = Refused(403, "origin", "pages of this origin may not connect (allowed_origins)", 0)
_TOO_LARGE = Refused(431, "request-header-too-large", "the header is too large (max_request_header_bytes)", 0)

Work = Frame | list[Effect] | bytes | Callable[[], None]
"""What waits for its turn: a frame, effects that are left of one, bytes that were not looked at, or a late decision."""


class Connection(Subscriber, Worker[Work], Protocol):
    """What the gateway needs of a connection."""

    session: Session | None
    serial: int

    def perform(self, effects: list[Effect]) -> None: ...

    def begin_keep_alive(self) -> None: ...

    def close(self, reason: CloseReason, detail: str = "") -> None: ...


class Gateway:
    """The connections of one process and what they share.

    Args:
        settings: limits and times of connections.
        authorize: decides about a connection; raises Unauthorized, or its awaitable does.
        subscriptions: starts and ends subscriptions.
        wheel: the clock of all connections.
        metrics: counts what happens.
        limits: what one client may do; the one that `subscriptions` asks.
        holds: whether an identity may still go on; asked where a decision has taken a while.
        now: seconds since 1970.

    Raises:
        ConfigurationError: a limit that cannot be kept on this system.
    """

    def __init__(
        self,
        settings: Settings,
        authorize: Callable[[Call], Identity | Awaitable[Identity]],
        subscriptions: Subscriptions,
        wheel: Wheel,
        metrics: Metrics,
        limits: Limits,
        holds: Holds,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._holds = holds
        self._now = now
        self.settings = settings
        self.subscriptions = subscriptions
        self.wheel = wheel
        self.metrics = metrics
        self.limits = limits
        self.admission = Admission(settings)
        self.turns: Turns[Work] = Turns(settings.work_budget_ms)
        self._authorize = authorize
        self._addresses = AddressReader(settings.trusted_proxies)
        self._origins = Origins(settings.allowed_origins)
        self._connections: dict[Connection, DialectName] = {}
        self._deciding: dict[Connection, asyncio.Future[Identity]] = {}
        self._last_number = 0

    def start(self) -> None:
        """Begin to watch this process."""
        self.wheel.schedule(self.admission, self.wheel.now_ms())

    def accept(self, connection: Connection, handshake: Handshake, request: Request) -> Session | None:
        """Answer an upgrade request through `handshake`. Returns the session, or None if it was refused."""
        refused = self._find_refusal(connection, request)
        if refused is not None:
            self.metrics.refusals[refused.reason] += 1
            response = handshake.reject(refused.status, refused.message + "\n")
            if refused.retry_after_seconds:
                response.headers["Retry-After"] = str(refused.retry_after_seconds)
            handshake.send_response(response)
            return None
        path, _, query_string = request.path.partition("?")
        headers = [(name.lower(), value) for name, value in request.headers.raw_items()]
        agreement = negotiate(path, query_string, headers)
        if isinstance(agreement, Refusal):
            self.metrics.refusals["upgrade"] += 1
            handshake.send_response(handshake.reject(http.HTTPStatus(agreement.status), agreement.message + "\n"))
            return None
        handshake.agreed_subprotocol = agreement.subprotocol
        handshake.send_response(handshake.accept(request))
        if handshake.state is not State.OPEN:
            self.metrics.refusals["upgrade"] += 1
            return None
        self.metrics.connects += 1
        return Session(agreement, self.settings)

    def authorize_connection(self, connection: Connection, headers: Mapping[str, str]) -> list[Effect]:
        """Decide about a connection that wants to initialise, or to be renewed. Returns what its session makes of it.

        Nothing yet, where something has to be asked first: then it is performed when that is known.
        """
        session = connection.session
        assert session is not None
        former = self._deciding.pop(connection, None)
        if former is not None:
            former.cancel()
        try:
            decision = self._authorize(describe_connect(headers, connection.peer_address, connection.identity))
        except ClientFault as fault:
            return self._refuse(session, fault)
        if isinstance(decision, Identity):
            return self._admit(connection, session, decision)
        deciding = self._deciding[connection] = asyncio.ensure_future(decision)
        deciding.add_done_callback(functools.partial(self._decided, connection, session))
        return []

    def _decided(self, connection: Connection, session: Session, deciding: asyncio.Future[Identity]) -> None:
        if not deciding.cancelled():
            # Many may have waited for one answer, and each may have held starts: they take their turns.
            connection.take_turn(functools.partial(self._settle, connection, session, deciding))

    def _settle(self, connection: Connection, session: Session, deciding: asyncio.Future[Identity]) -> None:
        outcome = read_decision(deciding, self._holds)
        if self._deciding.get(connection) is not deciding:
            return  # the connection went, or was given other credentials, since it was decided
        del self._deciding[connection]
        if isinstance(outcome, Identity):
            connection.perform(self._admit(connection, session, outcome))
        else:
            connection.perform(self._refuse(session, outcome))

    def _admit(self, connection: Connection, session: Session, identity: Identity) -> list[Effect]:
        if connection.identity is not None:
            return self._renew(connection, session, identity)
        if self.limits.is_active:
            excess = self.limits.identify(connection, identity.subject)
            if excess is not None:
                return self._refuse(session, excess.to_fault())
        connection.identity = identity
        self._connections[connection] = session.dialect.name
        self.metrics.connections[session.dialect.name] += 1
        connection.begin_keep_alive()
        return session.authorized()

    def _renew(self, connection: Connection, session: Session, identity: Identity) -> list[Effect]:
        """The same client has shown fresh credentials: its subscriptions go on, as far as they still may."""
        former = connection.identity
        assert former is not None
        if not identity.is_same_client(former):
            return self._refuse(session, Unauthorized())
        if identity == former:
            return session.authorized()
        connection.identity = identity
        connection.begin_keep_alive()
        ended = self.subscriptions.renew(connection, identity)
        effects = session.authorized()
        for id, fault in ended:
            effects += session.ended(id, fault)
        return effects

    def _refuse(self, session: Session, fault: ClientFault) -> list[Effect]:
        self.metrics.refusals[fault.error_type] += 1
        return session.refused(fault)

    def note_dialect(self, connection: Connection, dialect: DialectName) -> None:
        """The connection's dialect has shown itself: Apollo's clients may look like AppSync's until they start."""
        known = self._connections.get(connection)
        if known is not None:
            self.metrics.connections[known] -= 1
            self.metrics.connections[dialect] += 1
            self._connections[connection] = dialect

    def forget(self, connection: Connection) -> None:
        """End all that a connection has here. Doing it twice does nothing."""
        self.turns.drop(connection)
        deciding = self._deciding.pop(connection, None)
        if deciding is not None:
            deciding.cancel()
        self.subscriptions.end_all(connection)
        if self.limits.is_active:
            self.limits.leave(connection)
        dialect = self._connections.pop(connection, None)
        if dialect is not None:
            self.metrics.connections[dialect] -= 1

    def close_soon(self, connection: Connection, reason: CloseReason) -> None:
        """Close a connection at the next turn of the event loop."""
        asyncio.get_running_loop().call_soon(connection.close, reason)

    def close_subscribers(self, detail: str) -> None:
        """Tell everybody who is subscribed that events may have been missed, by closing their connections."""
        for connection in list(self._connections):
            if connection.subscriptions:
                connection.close(CloseReason.EVENTS_MISSED, f"{CloseReason.EVENTS_MISSED.text} ({detail})")

    @property
    def connections(self) -> Collection[Connection]:
        """All that are acknowledged. Not to be changed while it is walked through: closing a connection removes it."""
        return self._connections.keys()

    def draw_serial(self, now_ms: int) -> int:
        """What tells a new connection from all others of this process: when it came, and a running number.

        One int per connection tells its id and age and gives it its longest life.
        """
        self._last_number += 1
        return now_ms << _NUMBER_BITS | self._last_number & _NUMBER_MASK

    def came_ms(self, serial: int) -> int:
        """When the connection with this serial came, on the wheel's clock."""
        return serial >> _NUMBER_BITS

    def end_of_life_ms(self, serial: int) -> int:
        """When the longest life of a connection ends: after the setting's time, less a part of the jitter.

        The part comes from its number by the golden ratio, which spreads lives more evenly than chance would.
        """
        part = ((serial & _NUMBER_MASK) * _GOLDEN & _HASH_MASK) / _HASH_MASK
        life_ms = self.settings.max_lifetime_ms * (1 - part * self.settings.lifetime_jitter)
        return (serial >> _NUMBER_BITS) + int(life_ms)

    def expires_ms(self, connection: Connection, now_ms: int) -> float:
        """When a connection's credentials end, on the wheel's clock; infinity where they do not tell."""
        assert connection.identity is not None
        expires_at = connection.identity.expires_at
        return expires_at if expires_at == math.inf else now_ms + (expires_at - self._now()) * 1000

    def last_activity_ms(self, connection: Connection, messaged_ms: int) -> int:
        """When the client last sent a message or was last delivered one, on the wheel's clock."""
        return max(messaged_ms, *_delivery_times(connection.subscriptions.values()), 0)

    def __len__(self) -> int:
        return len(self._connections)

    def _find_refusal(self, connection: Connection, request: Request) -> Refused | None:
        if not self._origins.allows(request.headers.get_all("Origin")):
            return _FOREIGN_PAGE
        if _measure_header(request) > self.settings.max_request_header_bytes:
            return _TOO_LARGE
        refused = self.admission.find_refusal(len(self.admission.open_connections) - len(self))
        if refused is not None or not self.limits.is_active:
            return refused
        forwarded = request.headers.get_all(FORWARDED_HEADER)
        excess = self.limits.connect(connection, self._addresses.read(connection.peer_address, forwarded))
        return None if excess is None else excess.to_refused()


def _measure_header(request: Request) -> int:
    return len(request.path) + sum(len(name) + len(value) for name, value in request.headers.raw_items())


def _delivery_times(subscriptions: Iterable[Held]) -> Iterable[int]:
    return (held.group.last_delivery_ms for held in subscriptions if isinstance(held, Subscription))
