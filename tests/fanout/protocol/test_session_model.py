"""Any sequence of messages and gateway answers against an independent model of what a client and a gateway may see."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fanout.errors import BadRequest, ClientFault, LimitExceeded, Unauthorized
from fanout.model import DialectName
from fanout.protocol import (
    Agreement,
    Authorize,
    Close,
    Effect,
    Send,
    Session,
    Subscribe,
    Unsubscribe,
    negotiate,
)
from fanout.settings import Settings
from tests.fanout.protocol.strategies import texts

MAX_SUBSCRIPTIONS = 2
SETTINGS = Settings(max_subscriptions_per_connection=MAX_SUBSCRIPTIONS)
UPGRADES = [
    ("", "graphql-ws"),
    ("header=e30=", "graphql-ws"),
    ("", "graphql-transport-ws"),
]
FAULTY_UPGRADES = [
    ("", "mqtt"),
    ("header=%25", "graphql-ws"),
    ("header=%25", "graphql-transport-ws"),
]
SERVER_TYPES = {
    DialectName.APPSYNC: {"connection_ack", "connection_error", "ka", "start_ack", "data", "error", "complete"},
    DialectName.TRANSPORT_WS: {"connection_ack", "next", "error", "pong"},
    DialectName.APOLLO_WS: {"connection_ack", "connection_error", "ka", "data", "error", "complete"},
}
STARTS_OF_APPSYNC = [{"data": json.dumps({"query": query})} for query in ("a", "b")]
STARTS_OF_OTHERS = [{"query": query} for query in ("a", "b")]
FAULTS: list[ClientFault] = [
    BadRequest("no", errors=[{"message": "no", "path": ["a"]}, {"message": "nor this"}]),
    Unauthorized(),
    LimitExceeded("too much"),
]

ids = st.sampled_from(["1", "2", "3"])
faults = st.sampled_from(FAULTS)


class Conversation(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.in_use: dict[str, int] = {}  # what the gateway would hold: token by id
        self.live: set[str] = set()
        self.wishes: list[tuple[str, int]] = []  # every Subscribe there ever was
        self.authorizations = 0
        self.acknowledgements = 0
        self.is_deciding = False
        self.is_closed = False
        self.dialects: list[DialectName] = []
        self.steps = 0

    @initialize(
        upgrade=st.sampled_from(UPGRADES * 4 + FAULTY_UPGRADES),
        is_apollo=st.booleans(),
        is_open=st.sampled_from([True, True, True, False]),
        steps_before_end=st.sampled_from([0, 20, 40]),
    )
    def connect(self, upgrade: tuple[str, str], is_apollo: bool, is_open: bool, steps_before_end: int) -> None:
        # Most sequences have something that ends them: without a pause they would rarely get far.
        self.steps_before_end = steps_before_end
        agreement = negotiate("/graphql", upgrade[0], [("sec-websocket-protocol", upgrade[1])])
        assert isinstance(agreement, Agreement)
        self.session = Session(agreement, SETTINGS)
        self.dialects.append(self.session.dialect.name)
        self.had_header_object = agreement.header_object_given
        # Most of what can happen needs an acknowledgement first.
        if is_open:
            self.send_init({"x-api-key": "k"} if is_apollo else None)
            self.authorized()

    # Client

    @precondition(lambda self: self.may_end or not self.is_transport_ws or not self.authorizations)
    @rule(payload=st.sampled_from([None, {}, {"x-api-key": "k"}, {"headers": {"x-api-key": "k"}}]))
    def send_init(self, payload: Any) -> None:
        self.receive({"type": "connection_init", "payload": payload})

    @rule(id=ids, document=st.integers(0, 1), is_answered=st.booleans())
    def send_start(self, id: str, document: int, is_answered: bool) -> None:
        wishes = len(self.wishes)
        self._send_start(id, document)
        if is_answered and len(self.wishes) > wishes:
            self._answer(*self.wishes[-1])

    def _send_start(self, id: str, document: int) -> None:
        match self.session.dialect.name:
            case DialectName.APPSYNC:
                self.receive({"type": "start", "id": id, "payload": STARTS_OF_APPSYNC[document]})
            case DialectName.APOLLO_WS:
                self.receive({"type": "start", "id": id, "payload": STARTS_OF_OTHERS[document]})
            case DialectName.TRANSPORT_WS:
                if self.may_end or (id not in self.in_use and self.acknowledgements):
                    self.receive({"type": "subscribe", "id": id, "payload": STARTS_OF_OTHERS[document]})

    @precondition(lambda self: self.may_end or not self.is_transport_ws)
    @rule(
        id=ids,
        kind=st.sampled_from(["start", "subscribe"]),
        payload=st.sampled_from(STARTS_OF_APPSYNC + STARTS_OF_OTHERS),
    )
    def send_start_of_any_dialect(self, id: str, kind: str, payload: Any) -> None:
        self.receive({"type": kind, "id": id, "payload": payload})

    @rule(data=st.data())
    def send_stop(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from([*self.in_use, "1"]))
        was_in_use = id in self.in_use
        effects = self.receive({"type": "complete" if self.is_transport_ws else "stop", "id": id})
        assert id not in self.in_use
        if was_in_use:
            assert isinstance(effects[0], Unsubscribe)
            answers = [self.decode(effect) for effect in effects[1:]]
            assert answers == ([] if self.is_transport_ws else [{"type": "complete", "id": id}])

    @precondition(lambda self: self.may_end or self.is_transport_ws)
    @rule(kind=st.sampled_from(["ping", "pong"]))
    def send_sign_of_life(self, kind: str) -> None:
        self.receive({"type": kind})

    @precondition(lambda self: self.may_end)
    @rule()
    def send_terminate(self) -> None:
        self.receive({"type": "connection_terminate"})

    @precondition(lambda self: self.may_end or not self.is_transport_ws)
    @rule(text=texts)
    def send_anything(self, text: str | bytes) -> None:
        self.take(self.session.receive(text))

    # Gateway

    @rule()
    def authorized(self) -> None:
        expects_ack = self.is_authorizing
        effects = self.session.authorized()
        assert bool(effects) is expects_ack
        self.is_deciding = False
        if expects_ack:
            assert self.decode(effects[0])["type"] == "connection_ack"
        self.take(effects)

    @precondition(lambda self: self.may_end or not self.is_authorizing)
    @rule(fault=faults)
    def refused(self, fault: ClientFault) -> None:
        expects_end = self.is_authorizing
        effects = self.session.refused(fault)
        self.is_deciding = False
        self.take(effects)
        if expects_end:
            assert self.is_closed

    @precondition(lambda self: self.wishes)
    @rule(data=st.data())
    def subscribed(self, data: st.DataObject) -> None:
        self._answer(*data.draw(st.sampled_from(self.wishes[::-1])))

    def _answer(self, id: str, token: int) -> None:
        is_news = self.in_use.get(id) == token and id not in self.live and not self.is_closed
        effects = self.session.subscribed(id, token)
        has_ack = self.session.dialect.name is DialectName.APPSYNC
        assert [self.decode(effect) for effect in effects] == (
            [{"type": "start_ack", "id": id}] if is_news and has_ack else []
        )
        if is_news:
            self.live.add(id)
        self.take(effects)

    @precondition(lambda self: self.wishes)
    @rule(data=st.data(), fault=faults)
    def rejected(self, data: st.DataObject, fault: ClientFault) -> None:
        id, token = data.draw(st.sampled_from(self.wishes[::-1]))
        is_news = self.in_use.get(id) == token and not self.is_closed
        self.take_end(id, is_news, self.session.rejected(id, token, fault))

    @rule(id=ids, fault=faults)
    def ended(self, id: str, fault: ClientFault) -> None:
        self.take_end(id, id in self.in_use and not self.is_closed, self.session.ended(id, fault))

    @precondition(lambda self: self.may_end or self.acknowledgements)
    @rule()
    def init_timed_out(self) -> None:
        expects_end = not self.is_closed and not self.acknowledgements
        effects = self.session.init_timed_out()
        assert any(isinstance(effect, Close) for effect in effects) is expects_end
        self.take(effects)

    @rule()
    def keep_alive(self) -> None:
        message = self.session.keep_alive_message()
        expects_message = bool(self.acknowledgements) and not self.is_closed and not self.is_transport_ws
        assert message == (b'{"type":"ka"}' if expects_message else None)

    # Model

    @property
    def may_end(self) -> bool:
        return self.is_closed or self.steps >= self.steps_before_end

    @property
    def is_transport_ws(self) -> bool:
        return self.session.dialect.name is DialectName.TRANSPORT_WS

    @property
    def is_authorizing(self) -> bool:
        return self.is_deciding and not self.is_closed

    def receive(self, message: dict[str, Any]) -> list[Effect]:
        effects = self.session.receive(json.dumps(message))
        self.take(effects)
        return effects

    def decode(self, effect: Effect) -> dict[str, Any]:
        assert isinstance(effect, Send)
        message = json.loads(effect.message)
        assert isinstance(message, dict)
        assert message["type"] in SERVER_TYPES[self.session.dialect.name]
        return message

    def take_end(self, id: str, is_news: bool, effects: list[Effect]) -> None:
        assert [(m["type"], m["id"]) for m in map(self.decode, effects)] == ([("error", id)] if is_news else [])
        if is_news:
            del self.in_use[id]
            self.live.discard(id)
        self.take(effects)

    def take(self, effects: list[Effect]) -> None:
        assert not (self.is_closed and effects), "nothing after the end"
        if self.dialects[-1] is not self.session.dialect.name:
            self.dialects.append(self.session.dialect.name)
        for position, effect in enumerate(effects):
            match effect:
                case Send():
                    self.take_message(self.decode(effect), effects[:position])
                case Authorize(headers):
                    self.authorizations += 1
                    assert (self.authorizations == 1) is not bool(self.acknowledgements)
                    self.is_deciding = True
                    assert all(name == name.lower() for name in headers)
                case Subscribe(id, id_bytes, _, token):
                    assert self.acknowledgements, "nobody subscribes before the acknowledgement"
                    assert id not in self.in_use, "an id is used once at a time"
                    assert token not in [known for _, known in self.wishes]
                    assert json.loads(id_bytes) == id
                    self.in_use[id] = token
                    self.wishes.append((id, token))
                case Unsubscribe(id, token):
                    assert self.in_use.pop(id) == token
                    self.live.discard(id)
                case Close():
                    assert position == len(effects) - 1, "an end is the last thing"
                    self.is_closed = True
                    self.in_use.clear()
                    self.live.clear()

    def take_message(self, message: dict[str, Any], before: list[Effect]) -> None:
        match message["type"]:
            case "connection_ack":
                assert self.authorizations
                self.acknowledgements += 1
            case "start_ack":
                assert message["id"] in self.live, "live before ack"
            case "complete":
                assert message["id"] not in self.in_use
            case "ka":
                assert self.acknowledgements

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.steps += 1
        assert self.session.subscription_count == len(self.in_use) <= MAX_SUBSCRIPTIONS
        assert self.session.is_acknowledged is (bool(self.acknowledgements) and not self.is_closed)
        assert self.live <= set(self.in_use)

    @invariant()
    def dialect_changes_only_from_appsync_to_apollo(self) -> None:
        if len(self.dialects) > 1:
            assert self.dialects == [DialectName.APPSYNC, DialectName.APOLLO_WS]
            assert not self.had_header_object


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
