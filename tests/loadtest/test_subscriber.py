import httpx
import pytest

from loadtest import chat
from loadtest.subscriber import Subscriber, SubscriberError
from tests.loadtest.conftest import API_KEY, PUBLISHER_KEY

ACK = {"type": "connection_ack", "payload": {"connectionTimeoutMs": 300000}}
DATA = {"type": "data", "id": "$id", "payload": {"data": {"x": 1}}}
START_ACK = {"type": "start_ack", "id": "$id"}
COMPLETE = {"type": "complete", "id": "$id"}


def test_a_subscription_from_beginning_to_end(service):
    subscriber = Subscriber(f"{service.url}/graphql", API_KEY)
    subscriber.connect()
    subscriber.subscribe("s", chat.SUBSCRIBE, {"roomId": "r"})
    event = chat.build_event("k", "r", "2026-01-01T00:00:00.000Z")
    httpx.post(f"{service.url}/events", json=event, headers={"x-api-key": PUBLISHER_KEY}).raise_for_status()
    delivery = subscriber.receive(10)
    assert (delivery.id, chat.read_key(delivery.payload)) == ("s", "k")
    assert delivery.size > 100
    assert subscriber.receive(0) is None
    subscriber.unsubscribe("s")
    subscriber.close()
    subscriber.close()


def test_deliveries_between_other_answers_are_kept(scripted):
    url = scripted(connection_init=[ACK, {"type": "ka"}], start=[START_ACK, DATA], stop=[DATA, COMPLETE])
    subscriber = Subscriber(url, API_KEY)
    subscriber.connect()
    subscriber.subscribe("s", "", {})
    subscriber.unsubscribe("s")
    assert [subscriber.receive(10).payload for _ in range(2)] == [{"data": {"x": 1}}] * 2
    subscriber.close()


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ({"connection_init": [{"type": "connection_error", "payload": {"errors": []}}]}, "got .*connection_error"),
        ({"connection_init": ["close"]}, "closed with 4000 as told"),
        ({"connection_init": [[1]]}, "not a message"),
        ({}, "no connection_ack within 0.2 s"),
    ],
)
def test_a_refused_connection_is_told(scripted, replies, why):
    subscriber = Subscriber(scripted(**replies), API_KEY, timeout_s=0.2)
    with pytest.raises(SubscriberError, match=why):
        subscriber.connect()
    subscriber.close()


def test_a_refused_and_an_ended_subscription_are_told(scripted):
    error = {"type": "error", "id": "$id", "payload": {"errors": [{"message": "no"}]}}
    url = scripted(connection_init=[ACK], start=[error, START_ACK, error])
    subscriber = Subscriber(url, API_KEY)
    subscriber.connect()
    with pytest.raises(SubscriberError, match=r"expected start_ack, got .*no"):
        subscriber.subscribe("s", "", {})
    subscriber._wait_for("start_ack", "s")
    with pytest.raises(SubscriberError, match=r"unexpected message .*no"):
        subscriber.receive(10)
    subscriber.close()


def test_nobody_there(scripted):
    subscriber = Subscriber("http://127.0.0.1:1/graphql", API_KEY)
    with pytest.raises(SubscriberError, match="cannot connect"):
        subscriber.connect()
    with pytest.raises(SubscriberError, match="not connected"):
        subscriber.receive(0)
    with pytest.raises(SubscriberError, match="not connected"):
        subscriber.unsubscribe("s")
