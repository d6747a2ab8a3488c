from __future__ import annotations

import json
from pathlib import Path

import pytest

from fanout.errors import BadRequest, Unauthorized
from fanout.model import CloseReason, DialectName, Extensions
from fanout.protocol import (
    APOLLO_WS,
    APPSYNC,
    DIALECTS,
    Agreement,
    Close,
    Send,
    Session,
    Subscribe,
    Unsubscribe,
    negotiate,
    text_frame,
)
from fanout.settings import Settings
from tests.fanout.protocol.judge import read_frames
from tests.fanout.protocol.transcript import FOLDER, read_lines, replay

TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    lines = read_lines(path)
    assert list(replay(lines)) == lines


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_client_reads_every_frame_of_a_transcript(path: Path) -> None:
    lines = read_lines(path)
    messages = [line[2:].encode() for line in lines if line.startswith("<")]
    frames = read_frames(b"".join(map(text_frame, messages)))
    assert [bytes(frame.data) for frame in frames] == messages
    assert all(isinstance(json.loads(message), dict) for message in messages)


def test_every_dialect_has_transcripts() -> None:
    assert {"appsync_amplify", "appsync_gql", "transport_ws", "apollo_ws"} <= {path.stem for path in TRANSCRIPTS}
    assert set(DIALECTS) == set(DialectName)


def connect(*headers: tuple[str, str]) -> Session:
    agreement = negotiate("/graphql", "", headers or [("sec-websocket-protocol", "graphql-ws")])
    assert isinstance(agreement, Agreement)
    return Session(agreement, Settings())


START = '{"id":"1","type":"start","payload":{"data":"{\\"query\\":\\"q\\"}"}}'
APOLLO_START = '{"id":"1","type":"start","payload":{"query":"q"}}'


def open_session() -> Session:
    session = connect()
    session.receive('{"type":"connection_init"}')
    session.authorized()
    return session


def test_acknowledgement_is_known() -> None:
    session = connect()
    assert not session.is_acknowledged
    session.receive('{"type":"connection_init"}')
    assert not session.is_acknowledged
    session.authorized()
    assert session.is_acknowledged
    assert session.authorized() == []
    assert session.refused(Unauthorized()) == []
    assert session.is_acknowledged


def test_the_setting_s_timeout_is_told() -> None:
    agreement = negotiate("/graphql", "", [("sec-websocket-protocol", "graphql-ws")])
    assert isinstance(agreement, Agreement)
    session = Session(agreement, Settings(connection_timeout_ms=1234, keep_alive_interval_ms=1000))
    session.receive('{"type":"connection_init"}')
    assert session.authorized()[0] == Send(b'{"type":"connection_ack","payload":{"connectionTimeoutMs":1234}}')


def test_ids_in_use_are_counted() -> None:
    session = open_session()
    assert session.subscription_count == 0
    (wish,) = session.receive(START)
    assert isinstance(wish, Subscribe)
    assert session.subscription_count == 1
    session.subscribed("1", wish.token)
    assert session.subscription_count == 1
    session.receive('{"type":"stop","id":"1"}')
    assert session.subscription_count == 0


def test_a_start_that_is_repeated_is_told_again_where_it_begins() -> None:
    session = open_session()
    (wish,) = session.receive(START)
    assert isinstance(wish, Subscribe)
    (first,) = session.subscribed("1", wish.token, "P")
    assert isinstance(first, Send)
    assert b'"position":"P"' in first.message
    assert session.receive(START) == [first]


def test_a_rejected_id_is_free_again() -> None:
    session = open_session()
    (wish,) = session.receive(START)
    assert isinstance(wish, Subscribe)
    session.rejected("1", wish.token, BadRequest("no"))
    assert session.subscription_count == 0
    (again,) = session.receive(START)
    assert isinstance(again, Subscribe)
    assert again.token != wish.token


def test_a_pending_subscription_can_be_ended() -> None:
    session = open_session()
    (wish,) = session.receive(START)
    assert isinstance(wish, Subscribe)
    assert len(session.ended("1", BadRequest("no"))) == 1
    assert session.subscribed("1", wish.token) == []


def test_unsubscribe_comes_before_complete() -> None:
    session = open_session()
    session.receive(START)
    effects = session.receive('{"type":"stop","id":"1"}')
    assert [type(effect) for effect in effects] == [Unsubscribe, Send]


def test_the_dialect_changes_once() -> None:
    session = open_session()
    assert session.dialect is APPSYNC
    session.receive(APOLLO_START)
    assert session.dialect is APOLLO_WS
    (error,) = session.receive(START.replace('"1"', '"2"'))
    assert isinstance(error, Send)
    assert session.dialect is APOLLO_WS


def test_an_apollo_start_before_init_is_held_too() -> None:
    session = connect()
    assert session.receive(APOLLO_START) == []
    session.receive('{"type":"connection_init"}')
    assert [type(effect) for effect in session.authorized()] == [Send, Send, Subscribe]


@pytest.mark.parametrize("depth", [300, 1000])
def test_variables_nested_too_deeply_to_be_written_are_held_and_measured(depth: int) -> None:
    def start(id: str, text: str) -> str:
        variables = '{"a":' + "[" * depth + f'"{text}"' + "]" * depth + "}"
        return APOLLO_START.replace('"id":"1"', f'"id":"{id}"').replace('"query"', f'"variables":{variables},"query"')

    session = connect()
    assert session.receive(start("1", "x")) == []
    assert session.receive(start("2", "x" * Settings().max_message_bytes)) == [
        Close(CloseReason.BAD_MESSAGE, "too much was sent before the acknowledgement")
    ]
    session = connect()
    session.receive(start("1", "x"))
    session.receive('{"type":"connection_init"}')
    # Whoever plans it refuses it.
    assert [type(effect) for effect in session.authorized()] == [Send, Send, Subscribe]


def test_bytes_are_taken_as_utf_8() -> None:
    session = open_session()
    (wish,) = session.receive(START.replace('"1"', '"ä"').encode())
    assert isinstance(wish, Subscribe)
    assert (wish.id, wish.id_bytes) == ("ä", '"ä"'.encode())
    (error,) = session.receive(START.replace('"1"', '"ä"').encode("latin-1"))
    assert isinstance(error, Send)


def test_time_is_up_while_the_gateway_decides() -> None:
    session = connect()
    session.receive('{"type":"connection_init"}')
    assert session.init_timed_out() == [Close(CloseReason.INIT_TIMEOUT)]
    assert session.authorized() == []


def test_time_is_not_up_for_a_session_that_is_open() -> None:
    assert open_session().init_timed_out() == []


def test_a_faulty_agreement_is_told_at_any_first_message() -> None:
    session = connect(("sec-websocket-protocol", "mqtt"))
    effects = session.receive("garbage")
    assert [type(effect) for effect in effects] == [Send, Close]
    assert session.receive("garbage") == []


def test_no_keep_alive_after_the_end() -> None:
    session = open_session()
    assert session.keep_alive_message() == b'{"type":"ka"}'
    session.receive('{"type":"connection_terminate"}')
    assert session.keep_alive_message() is None
    assert not session.is_acknowledged
    assert session.subscription_count == 0


FAULTY = {"query": "q", "extensions": {"fanout": {"after": 1}}}


def test_a_mistake_in_the_extensions_is_told_and_the_conversation_goes_on() -> None:
    session = connect(("sec-websocket-protocol", "graphql-transport-ws"))
    session.receive('{"type":"connection_init"}')
    session.authorized()
    (effect,) = session.receive(json.dumps({"type": "subscribe", "id": "1", "payload": FAULTY}))
    assert isinstance(effect, Send)
    message = json.loads(effect.message)
    assert (message["type"], message["id"]) == ("error", "1")
    assert "extensions.fanout.after" in message["payload"][0]["message"]
    (wish,) = session.receive('{"type":"subscribe","id":"1","payload":{"query":"q"}}')
    assert isinstance(wish, Subscribe)


def test_a_mistake_in_the_extensions_of_a_replacement_ends_what_it_replaces() -> None:
    session = connect()
    session.receive('{"type":"connection_init","payload":{"x-api-key":"k"}}')
    session.authorized()
    session.receive(APOLLO_START)
    unsubscribe, error = session.receive(json.dumps({"type": "start", "id": "1", "payload": FAULTY}))
    assert isinstance(unsubscribe, Unsubscribe)
    assert isinstance(error, Send)
    assert session.subscription_count == 0


def test_what_is_asked_for_goes_with_the_request() -> None:
    session = open_session()
    (wish,) = session.receive(
        '{"id":"1","type":"start","payload":{"data":"{\\"query\\":\\"q\\"}","extensions":{"fanout":{"after":"x"}}}}'
    )
    assert isinstance(wish, Subscribe)
    assert wish.request.extensions == Extensions(wants_positions=True, after="x")


def test_invalidation_ends_subscriptions_and_in_appsync_the_connection() -> None:
    session = open_session()
    for id in ("1", "2", "3"):
        session.receive(START.replace('"id":"1"', f'"id":"{id}"'))
    told = [effect for effect in session.invalidated(["1", "3", "unknown"]) if isinstance(effect, Send)]
    assert [json.loads(effect.message)["id"] for effect in told] == ["1", "3"]
    assert json.loads(told[0].message)["payload"]["errors"] == [
        {"errorType": "SubscriptionInvalidated", "message": "Subscription complete."}
    ]
    assert session.invalidated(["2"]) == []  # nothing is said after the close
    fresh = open_session()
    assert fresh.invalidated(["unknown"]) == []
    fresh.receive(START)
    assert fresh.invalidated(["1"])[-1] == Close(CloseReason.INVALIDATED)


@pytest.mark.parametrize("subprotocol", ["graphql-transport-ws", "graphql-ws"])
def test_revoked_credentials_are_told_where_there_is_a_message_and_close_with_4401(subprotocol: str) -> None:
    session = connect(("sec-websocket-protocol", subprotocol))
    session.receive('{"type":"connection_init"}')
    session.authorized()
    *told, close = session.revoked()
    assert isinstance(close, Close)
    assert close.reason is CloseReason.UNAUTHORIZED
    kinds = [json.loads(effect.message)["type"] for effect in told if isinstance(effect, Send)]
    assert kinds == (["connection_error"] if subprotocol == "graphql-ws" else [])
    assert session.revoked() == []
