"""What one client may do: connections and rates per address and per identity. Knows no socket and no message.

Nothing is kept for a connection unless a limit is configured; then one entry in a table. A rate is kept as one
number per party (GCRA, ITU-T I.371: when everything that was taken would be paid off), whatever the rate.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from fanout.errors import LimitExceeded
from fanout.gateway.admission import Refused
from fanout.settings import Settings

# Parties that are remembered before those without a connection are forgotten, first who owes nothing, then who came
# first: against so many addresses a limit per address is of no use anyway.
_MAX_PARTIES = 100_000
_RATE_ERROR_CODE = 429  # Amplify gives up at 400, 401 and 403 only


class Action(Enum):
    """What is counted per second; the word in settings and in texts."""

    CONNECT = "connects"
    SUBSCRIBE = "subscribes"
    MESSAGE = "messages"
    REQUEST = "requests"


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that was exceeded.

    Args:
        setting: its name.
        message: for people; names the setting and its value.
        wait_ms: when there is room again, at the earliest; 0 where time does not tell.
    """

    setting: str
    message: str
    wait_ms: int

    @property
    def retry_after_seconds(self) -> int:
        """When there is room again, as an HTTP header can say it."""
        return max(1, math.ceil(self.wait_ms / 1000))

    def to_fault(self) -> LimitExceeded:
        return LimitExceeded(self.message, error_code=_RATE_ERROR_CODE)

    def to_refused(self) -> Refused:
        return Refused(429, self.setting.replace("_", "-"), self.message, self.retry_after_seconds)


class _Party:
    """An address or an identity."""

    __slots__ = ("connections", "paid_at_ms")

    def __init__(self) -> None:
        self.connections = 0
        self.paid_at_ms: dict[Action, float] = {}


class _Table:
    """All parties of one kind, and what each of them may do."""

    def __init__(self, kind: str, settings: Settings) -> None:
        self._kind = kind
        self._max_connections: int | None = getattr(settings, f"max_connections_per_{kind}")
        self._rates: dict[Action, float] = {}
        for action in Action:
            rate = getattr(settings, f"max_{action.value}_per_second_per_{kind}")
            if rate is not None:
                self._rates[action] = rate
        self._window_ms = settings.rate_window_ms
        self._make_room_at = _MAX_PARTIES
        self._parties: dict[str, _Party] = {}

    @property
    def is_active(self) -> bool:
        return self._max_connections is not None or bool(self._rates)

    def counts(self, action: Action) -> bool:
        return action in self._rates

    def find(self, name: str, now_ms: int) -> _Party:
        party = self._parties.get(name)
        if party is None:
            if len(self._parties) >= self._make_room_at:
                self._make_room(now_ms)
            party = self._parties[name] = _Party()
        return party

    def enter(self, party: _Party, now_ms: int) -> Excess | None:
        limit = self._max_connections
        if limit is not None and party.connections >= limit:
            setting = f"max_connections_per_{self._kind}"
            return Excess(setting, f"Connection limit exceeded for your {self._kind} ({setting} = {limit}).", 0)
        excess = self.take(party, Action.CONNECT, now_ms)
        if excess is None:
            party.connections += 1
        return excess

    def take(self, party: _Party, action: Action, now_ms: int) -> Excess | None:
        rate = self._rates.get(action)
        if rate is None:
            return None
        cost_ms = 1000 / rate
        paid_at_ms = max(party.paid_at_ms.get(action, 0.0), now_ms) + cost_ms
        wait_ms = paid_at_ms - now_ms - max(self._window_ms, cost_ms)
        if wait_ms <= 0:
            party.paid_at_ms[action] = paid_at_ms
            return None
        setting = f"max_{action.value}_per_second_per_{self._kind}"
        # AppSync's words first: clients may look for them.
        text = f"Rate limit exceeded for your {self._kind} ({setting} = {rate:g})."
        return Excess(setting, text, math.ceil(wait_ms))

    def _make_room(self, now_ms: int) -> None:
        """Forget who owes nothing, or else who came first and is not connected. Seldom enough to cost nothing."""
        for name, party in list(self._parties.items()):
            if not party.connections and all(paid_at_ms <= now_ms for paid_at_ms in party.paid_at_ms.values()):
                del self._parties[name]
        excess = len(self._parties) - _MAX_PARTIES * 3 // 4
        if excess > 0:
            idle = [name for name, party in self._parties.items() if not party.connections]
            for name in idle[:excess]:
                del self._parties[name]
        self._make_room_at = max(_MAX_PARTIES, len(self._parties) + _MAX_PARTIES // 4)


class Limits:
    """The limits per address and per identity of one gateway.

    Args:
        settings: those that end in `_per_address` and `_per_identity`, and `rate_window_ms`.
        now_ms: the gateway's clock.
    """

    def __init__(self, settings: Settings, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._addresses = _Table("address", settings)
        self._identities = _Table("identity", settings)
        self._present: dict[object, list[tuple[_Table, _Party]]] = {}
        self.is_active = self._addresses.is_active or self._identities.is_active
        """False: no method needs to be called."""
        self.counts_messages = any(table.counts(Action.MESSAGE) for table in (self._addresses, self._identities))
        self.counts_requests = any(table.counts(Action.REQUEST) for table in (self._addresses, self._identities))

    def connect(self, connection: object, address: str) -> Excess | None:
        """A connection comes from `address`; None if it may, and is then counted until it leaves."""
        return self._enter(connection, self._addresses, address)

    def identify(self, connection: object, identity: str) -> Excess | None:
        """A connection has shown whose it is; None if it may stay."""
        return self._enter(connection, self._identities, identity)

    def subscribe(self, connection: object, identity: str) -> Excess | None:
        """The connection starts a subscription, by its own right or that of another identity; None if it may."""
        now_ms = self._now_ms()
        excess = None
        if self._identities.counts(Action.SUBSCRIBE):
            excess = self._identities.take(self._identities.find(identity, now_ms), Action.SUBSCRIBE, now_ms)
        for table, party in self._present.get(connection, ()):
            if table is self._addresses:
                excess = excess or table.take(party, Action.SUBSCRIBE, now_ms)
        return excess

    def receive(self, connection: object) -> Excess | None:
        """The connection has sent a message; None if it may."""
        now_ms = self._now_ms()
        for table, party in self._present.get(connection, ()):
            excess = table.take(party, Action.MESSAGE, now_ms)
            if excess is not None:
                return excess
        return None

    def request_from(self, address: str) -> Excess | None:
        """An HTTP request comes from `address`; None if it may."""
        return self._request(self._addresses, address)

    def request_by(self, identity: str) -> Excess | None:
        """An HTTP request has shown whose it is; None if it may."""
        return self._request(self._identities, identity)

    def leave(self, connection: object) -> None:
        """The connection has ended. Doing it twice does nothing."""
        for _, party in self._present.pop(connection, ()):
            party.connections -= 1

    def _request(self, table: _Table, name: str) -> Excess | None:
        if not table.counts(Action.REQUEST):
            return None
        now_ms = self._now_ms()
        return table.take(table.find(name, now_ms), Action.REQUEST, now_ms)

    def _enter(self, connection: object, table: _Table, name: str) -> Excess | None:
        if not table.is_active:
            return None
        now_ms = self._now_ms()
        party = table.find(sys.intern(name), now_ms)
        excess = table.enter(party, now_ms)
        if excess is None:
            self._present.setdefault(connection, []).append((table, party))
        return excess
