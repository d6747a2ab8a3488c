"""One connection's conversation as a pure state machine: messages and the gateway's answers in, effects out.

It keeps which ids are in use and what was said, and walks its dialect's `Rules`. May not know: how a message is
written (dialects), sockets, time, and how effects are performed. HOT when many clients connect: `connection_init`
and one `start` together cost about 11 us, and a session with one subscription holds about 480 bytes beside its
headers (tests/fanout/protocol/test_session_cost.py guards both).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, assert_never

import orjson

from fanout.errors import ClientFault, DuplicatedOperation, LimitExceeded, SubscriptionEnded, Unauthorized
from fanout.model import CloseReason, DialectName, SubscribeRequest
from fanout.protocol.apollo_ws import APOLLO_WS
from fanout.protocol.appsync import APPSYNC
from fanout.protocol.conversation import (
    Authorize,
    BadMessage,
    Close,
    Command,
    Effect,
    Init,
    Ping,
    Pong,
    Send,
    Start,
    Stop,
    Subscribe,
    Terminate,
    Unsubscribe,
)
from fanout.protocol.dialect import Dialect, EarlyStart, RepeatedId, decode_message
from fanout.protocol.headers import CREDENTIAL_NAMES, RENEWING_NAMES, overlay_headers
from fanout.protocol.negotiation import Agreement, UnsupportedSubprotocol
from fanout.protocol.transport_ws import TRANSPORT_WS
from fanout.settings import Settings

DIALECTS: dict[DialectName, Dialect] = {dialect.name: dialect for dialect in (APPSYNC, TRANSPORT_WS, APOLLO_WS)}


_HELD_START_BYTES = 500
"""What a held start takes beside its text."""


_UNAVAILABLE = 503
"""`error_code` of a fault that is not the client's: whoever decides could not be asked."""


class _Phase(Enum):
    WAITING = "for connection_init"
    AUTHORIZING = "the gateway decides"
    OPEN = "acknowledged"
    CLOSED = "nothing more is said or heard"


class _Use:
    """An id in use: from `Subscribe` until `Unsubscribe`, `rejected` or `ended`."""

    __slots__ = ("fingerprint", "is_live", "position", "token")

    def __init__(self, token: int, fingerprint: int) -> None:
        self.token = token
        self.fingerprint = fingerprint
        self.is_live = False
        self.position: str | None = None


class Session:
    """The conversation of one connection.

    The gateway hands every text message to `receive`, performs the effects in order, and answers `Authorize` with
    `authorized` or `refused` and `Subscribe` with `subscribed` or `rejected`, at once or later, in any order. No
    method raises, waits, or calls back; after a `Close` every one returns no effects. Not for several threads.

    Args:
        agreement: what the upgrade ended in.
        settings: `connection_timeout_ms` and `max_subscriptions_per_connection` are read.
    """

    __slots__ = (
        "_could_be_apollo",
        "_fault",
        "_headers",
        "_held",
        "_last_token",
        "_phase",
        "_renewal",
        "_settings",
        "_uses",
        "dialect",
    )

    def __init__(self, agreement: Agreement, settings: Settings) -> None:
        self.dialect: Dialect = DIALECTS[agreement.dialect]
        """Changes once at most, from `appsync` to `apollo_ws`, before the first `Subscribe`."""
        self._settings = settings
        self._headers = agreement.headers
        self._fault = agreement.fault
        self._phase = _Phase.WAITING
        self._could_be_apollo = agreement.dialect is DialectName.APPSYNC and not agreement.header_object_given
        self._uses: dict[str, _Use] = {}
        self._held: dict[str, Start] | None = None
        self._renewal: Mapping[str, str] | None = None
        self._last_token = 0

    @property
    def subscription_count(self) -> int:
        """Ids in use, those included that the gateway has not answered yet."""
        return len(self._uses)

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client was told `connection_ack`, and no `Close` has followed."""
        return self._phase is _Phase.OPEN

    def receive(self, text: str | bytes) -> list[Effect]:
        """A text message from the client, whole, of any content (bytes need not be UTF-8)."""
        if self._phase is _Phase.CLOSED:
            return []
        if self._fault is not None:
            return self._tell_fault(self._fault)
        try:
            message = decode_message(text)
            if self._could_be_apollo and not self._is_renewal(message) and APOLLO_WS.recognizes(message):
                self.dialect = APOLLO_WS
                self._could_be_apollo = False
            command = self.dialect.read(message)
        except BadMessage as bad:
            return self._answer_bad_message(bad)
        return self._obey(command)

    def authorized(self) -> list[Effect]:
        """The gateway accepts the connection: acknowledgement, first keep-alive, and the starts that were held.

        Of a connection that is open already it accepts fresh credentials: acknowledged again.
        """
        if self._renewal is not None:
            self._headers, self._renewal = self._renewal, None
            return [Send(self._write_ack())]
        if self._phase is not _Phase.AUTHORIZING:
            return []
        self._phase = _Phase.OPEN
        effects: list[Effect] = [Send(self._write_ack())]
        keep_alive = self.dialect.keep_alive()
        if keep_alive is not None:
            effects.append(Send(keep_alive))
        held, self._held = self._held, None
        for start in (held or {}).values():
            effects += self._start(start)
        return effects

    def refused(self, fault: ClientFault) -> list[Effect]:
        """The gateway does not accept the connection, or not its renewal: it is told why, and closed."""
        if self._phase is not _Phase.AUTHORIZING and self._renewal is None:
            return []
        if fault.error_code == _UNAVAILABLE:
            return self._tell_and_close(fault, CloseReason.AUTHORITY_UNAVAILABLE)
        if isinstance(fault, LimitExceeded):  # the same client may be welcome later
            return self._tell_and_close(fault, CloseReason.LIMIT_EXCEEDED)
        return self._tell_and_close(fault, self.dialect.rules.refused_init)

    def subscribed(self, id: str, token: int, position: str | None = None) -> list[Effect]:
        """The subscription is live everywhere it has to be; the next bytes for it may be an event.

        `position`: where it begins, for those who asked for positions.
        """
        use = self._find_use(id, token)
        if use is None or use.is_live:
            return []
        use.is_live = True
        use.position = position
        message = self.dialect.started(id, position)
        return [] if message is None else [Send(message)]

    def rejected(self, id: str, token: int, fault: ClientFault) -> list[Effect]:
        """The subscription is not accepted; its id is free again."""
        return [] if self._find_use(id, token) is None else self.ended(id, fault)

    def ended(self, id: str, fault: ClientFault) -> list[Effect]:
        """The service has ended the subscription that uses this id; the gateway has dropped it already.

        AppSync's clients do not notice a `complete`, so every dialect says it with an error.
        """
        if self._phase is _Phase.CLOSED or self._uses.pop(id, None) is None:
            return []
        return [Send(self.dialect.error(id, fault))]

    def invalidated(self, ids: Iterable[str]) -> list[Effect]:
        """An operator has invalidated these subscriptions; the gateway has dropped them already.

        Each is told in AppSync's words. AppSync then closes the connection, so that the client comes back with
        what else it has and is looked at anew.
        """
        fault = SubscriptionEnded("Subscription complete.", error_type="SubscriptionInvalidated")
        effects = [effect for id in ids for effect in self.ended(id, fault)]
        reason = self.dialect.rules.invalidated
        return effects if reason is None or not effects else effects + self._close(reason)

    def revoked(self) -> list[Effect]:
        """The connection's credentials are not good any more: the client is told as at the beginning, and closed."""
        if self._phase is _Phase.CLOSED:
            return []
        return self._tell_and_close(Unauthorized(), CloseReason.UNAUTHORIZED)

    def init_timed_out(self) -> list[Effect]:
        """`init_timeout_ms` have passed since the upgrade: closes what is not acknowledged by now."""
        if self._phase in (_Phase.OPEN, _Phase.CLOSED):
            return []
        if self._fault is not None:
            return self._tell_fault(self._fault)
        return self._close(CloseReason.INIT_TIMEOUT)

    def keep_alive_message(self) -> bytes | None:
        """What to write when the keep-alive interval is over; None before the acknowledgement, or if there is none."""
        return self.dialect.keep_alive() if self._phase is _Phase.OPEN else None

    def _is_renewal(self, message: Mapping[str, Any]) -> bool:
        return self._phase is not _Phase.WAITING and message.get("type") == "connection_init"

    def _obey(self, command: Command) -> list[Effect]:
        match command:
            case Start():
                return self._start(command) if self._phase is _Phase.OPEN else self._start_early(command)
            case Stop(id):
                return self._stop(id)
            case Init():
                return self._init(command)
            case Ping(payload):
                message = self.dialect.pong(payload)
                return [] if message is None else [Send(message)]
            case Pong():
                return []
            case Terminate():
                return self._close(CloseReason.NORMAL)
            case _:
                assert_never(command)

    def _init(self, command: Init) -> list[Effect]:
        if self._phase is _Phase.WAITING:
            self._headers = overlay_headers(self._headers, command.headers)
            self._phase = _Phase.AUTHORIZING
            return [Authorize(self._headers)]
        if self._phase is _Phase.OPEN and not CREDENTIAL_NAMES.isdisjoint(command.headers):
            fresh = {name: text for name, text in command.headers.items() if name in RENEWING_NAMES}
            self._renewal = overlay_headers(self._headers, fresh)
            return [Authorize(self._renewal)]
        repeated = self.dialect.rules.repeated_init
        if repeated is not None:
            return self._close(repeated)
        return [Send(self._write_ack())] if self._phase is _Phase.OPEN else []

    def _start_early(self, command: Start) -> list[Effect]:
        match self.dialect.rules.early_start:
            case EarlyStart.DROP:
                return []
            case EarlyStart.CLOSE:
                return self._close(CloseReason.UNAUTHORIZED)
            case EarlyStart.HOLD:
                held = {**(self._held or {}), command.id: command}
                if len(held) > self._settings.max_subscriptions_per_connection:
                    return [Send(self.dialect.error(command.id, self._too_many()))]
                # Nobody has been authorized yet: what is held for them is no more than one message could be.
                if sum(map(_measure, held.values())) > self._settings.max_message_bytes:
                    return self._close(CloseReason.BAD_MESSAGE, "too much was sent before the acknowledgement")
                self._held = held
                return []

    def _start(self, command: Start) -> list[Effect]:
        id = command.id
        effects: list[Effect] = []
        extensions = command.extensions
        use = self._uses.get(id)
        if use is not None:
            match self.dialect.rules.repeated_id:
                case RepeatedId.CONFIRM:
                    return self._confirm(id, use, command.fingerprint)
                case RepeatedId.CLOSE:
                    return self._close(CloseReason.DUPLICATE_ID, f"Subscriber for {id} already exists")
                case RepeatedId.REPLACE:
                    effects.append(Unsubscribe(id, use.token))
        elif len(self._uses) >= self._settings.max_subscriptions_per_connection:
            return [Send(self.dialect.error(id, self._too_many()))]
        self._could_be_apollo = False
        if isinstance(extensions, ClientFault):
            self._uses.pop(id, None)  # the one that was to be replaced
            effects.append(Send(self.dialect.error(id, extensions)))
            return effects
        self._last_token += 1
        self._uses[id] = _Use(self._last_token, command.fingerprint)
        headers = overlay_headers(self._headers, command.headers)
        request = SubscribeRequest(
            command.query, command.operation_name, command.variables, headers, extensions, command.signed
        )
        # Copied, because it is kept: what orjson returns holds on to its whole buffer, 4 KB for an id of 38 bytes.
        id_bytes = bytes(memoryview(orjson.dumps(id)))
        effects.append(Subscribe(id, id_bytes, request, self._last_token))
        return effects

    def _confirm(self, id: str, use: _Use, fingerprint: int) -> list[Effect]:
        if use.fingerprint != fingerprint:
            return [Send(self.dialect.error(id, DuplicatedOperation(f"Duplicated operation with id {id}")))]
        message = self.dialect.started(id, use.position) if use.is_live else None
        return [] if message is None else [Send(message)]

    def _stop(self, id: str) -> list[Effect]:
        use = self._uses.pop(id, None)
        effects: list[Effect] = []
        if use is not None:
            # Before the `complete`, after which no data may follow.
            effects.append(Unsubscribe(id, use.token))
        elif self._held is None or self._held.pop(id, None) is None:
            return effects
        if self.dialect.rules.stop_is_answered:
            effects.append(Send(self.dialect.complete(id)))
        return effects

    def _answer_bad_message(self, bad: BadMessage) -> list[Effect]:
        reason = self.dialect.rules.bad_message
        if reason is not None:
            return self._close(reason, bad.message)
        return [Send(self.dialect.error(bad.id, bad))]

    def _tell_fault(self, fault: ClientFault) -> list[Effect]:
        is_subprotocol = isinstance(fault, UnsupportedSubprotocol)
        return self._tell_and_close(fault, CloseReason.NO_SUBPROTOCOL if is_subprotocol else CloseReason.BAD_MESSAGE)

    def _tell_and_close(self, fault: ClientFault, reason: CloseReason) -> list[Effect]:
        message = self.dialect.connection_error(fault)
        return [*([] if message is None else [Send(message)]), *self._close(reason, fault.message)]

    def _close(self, reason: CloseReason, detail: str = "") -> list[Effect]:
        self._phase = _Phase.CLOSED
        self._uses.clear()
        self._held = self._renewal = None
        return [Close(reason, detail)]

    def _find_use(self, id: str, token: int) -> _Use | None:
        use = self._uses.get(id)
        return use if use is not None and use.token == token else None

    def _write_ack(self) -> bytes:
        return self.dialect.ack(self._settings.connection_timeout_ms)

    def _too_many(self) -> LimitExceeded:
        limit = self._settings.max_subscriptions_per_connection
        return LimitExceeded(f"Max number of {limit} subscriptions reached", error_type="MaxSubscriptionsReachedError")


def _measure(start: Start) -> int:
    asked = start.extensions
    position = "" if isinstance(asked, ClientFault) else asked.after or ""
    return _HELD_START_BYTES + len(start.query) + _measure_variables(start.variables) + len(position)


def _measure_variables(variables: Mapping[str, Any]) -> int:
    try:
        return len(orjson.dumps(variables))
    except orjson.JSONEncodeError:
        # Nested more deeply than it writes, though it has read them: they are refused when the start is obeyed.
        size = 0
        left: list[Any] = [variables]
        while left:
            match left.pop():
                case dict() as members:
                    size += sum(map(len, members)) + 2 * len(members)
                    left.extend(members.values())
                case list() as elements:
                    left.extend(elements)
                case str() as text:
                    size += len(text)
            size += 2
        return size
