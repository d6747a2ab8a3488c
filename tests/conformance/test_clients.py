"""One conversation, held by every client: subscribe with filters, receive, reconnect twice, unsubscribe."""

import signal

import pytest

pytestmark = pytest.mark.conformance

PLAIN = """subscription InRoom($roomId: ID) {
  onCreateMessage(roomId: $roomId) { id roomId content }
}"""
FILTERED = """subscription Urgent($filter: MessageFilterInput) {
  onCreateMessage(filter: $filter) { id priority tags author }
}"""
FILTER = {"roomId": {"eq": "lobby"}, "priority": {"ge": 5}, "tags": {"contains": "news"}}

# script, is TLS needed, dialect that the service has to see
CLIENTS = [
    pytest.param("transport_ws.mjs", False, "transport_ws", id="graphql-ws"),
    pytest.param("amplify.mjs", True, "appsync", id="aws-amplify"),
    pytest.param("appsync_link.mjs", False, "appsync", id="aws-appsync-subscription-link"),
    pytest.param("apollo_ws.mjs", False, "apollo_ws", id="subscriptions-transport-ws"),
]


def _by_client(names: str, values=lambda script, tls, dialect: (tls, script, dialect)):
    """Parametrize over the clients; `served` is made as each one needs it."""
    return pytest.mark.parametrize(
        names, [pytest.param(*values(*client.values), id=client.id) for client in CLIENTS], indirect=["served"]
    )


def _publish(served, prefix: str) -> dict[str, list[dict]]:
    """Publish a mixture; returns what each subscription has to receive, in order."""

    def message(name, room, priority, tags):
        return {"id": prefix + name, "roomId": room, "content": f"\u00fc {name}", "priority": priority, "tags": tags}

    messages = [
        message("1", "lobby", 1, ["news"]),
        message("2", "lobby", 5, ["news", "sport"]),
        message("3", "garden", 9, ["news"]),
        message("4", "lobby", 9, []),
        message("5", "lobby", 7, ["sport", "news"]),
        message("6", "elsewhere", 9, ["news"]),
        message("7", "garden", 1, ["news"]),
    ]
    served.publish(messages)
    expected = {"plain": [messages[2], messages[6]], "filtered": [messages[1], messages[4]]}
    fields = {"plain": ("id", "roomId", "content"), "filtered": ("id", "priority", "tags", "author")}
    return {
        name: [{"onCreateMessage": {field: each.get(field) for field in fields[name]}} for each in expected[name]]
        for name in expected
    }


def _take(client, count: int) -> dict[str, list[dict]]:
    """The next deliveries without `__typename`, which Apollo's client adds to every selection."""
    return {
        name: [
            {"onCreateMessage": {key: value for key, value in each["data"]["onCreateMessage"].items() if key[0] != "_"}}
            for each in payloads
        ]
        for name, payloads in client.take_deliveries(count).items()
    }


@_by_client("served, script, dialect")
def test_subscribe_receive_reconnect_unsubscribe(served, connect, script, dialect):
    client = connect(script)
    client.subscribe("plain", PLAIN, {"roomId": "garden"})
    client.subscribe("filtered", FILTERED, {"filter": FILTER})
    served.wait_for_subscriptions(2)
    served.wait_for_connections(dialect, 1)
    expected = _publish(served, "first ")
    assert _take(client, 4) == expected

    # Cut: the process dies, so every connection ends without a close frame. Restart: it says goodbye first.
    for number in (signal.SIGKILL, signal.SIGTERM):
        served.restart(number)
        served.wait_for_subscriptions(2)
        expected = _publish(served, f"after {number.name} ")
        assert _take(client, 4) == expected

    client.unsubscribe("filtered")
    served.wait_for_subscriptions(1)
    expected = _publish(served, "last ")
    assert _take(client, 2) == {"plain": expected["plain"]}
    client.unsubscribe("plain")
    served.wait_for_subscriptions(0)
    _publish(served, "nobody ")
    left = client.finish()
    assert [message for message in left if "next" in message or "error" in message] == []
    served.wait_for_connections(dialect, 0)


@_by_client("served, script", lambda script, tls, dialect: (tls, script))
def test_a_wrong_key_is_refused(served, connect, script):
    client = connect(script, api_key="wrong")
    client.subscribe("plain", PLAIN, {"roomId": "garden"})
    message = client.next_message()
    assert "error" in message, message
    assert "nauthorized" in message["error"] or "not authorized" in message["error"], message
    served.wait_for_subscriptions(0)


@_by_client("served, script", lambda script, tls, dialect: (tls, script))
def test_an_unknown_field_is_told(served, connect, script):
    client = connect(script)
    client.subscribe("plain", "subscription { onCreateMessage { id nonsense } }", {})
    message = client.next_message()
    assert "error" in message, message
    assert "nonsense" in message["error"], message
    served.wait_for_subscriptions(0)
