"""What a session holds of memory, and that joining does not depend on the number of subscribers.

Times are measured by `python -m tests.bench.measure_modules`, and never asserted.
"""

from __future__ import annotations

import gc
import json
import tracemalloc

from fanout.protocol import APPSYNC, Agreement, Send, Session, Subscribe, join_parts, negotiate, text_frame
from fanout.settings import Settings

SESSION_BUDGET_BYTES = 600
HEADERS_BUDGET_BYTES = 700
COUNT = 500

SETTINGS = Settings()
OFFER = "graphql-ws, header-eyJob3N0IjoibG9jYWxob3N0OjgwODAiLCJ4LWFwaS1rZXkiOiJkYTIta2V5In0"
HEADERS = [
    ("host", "localhost:8080"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("origin", "http://localhost:3000"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cache-control", "no-cache"),
    ("pragma", "no-cache"),
    ("sec-websocket-protocol", OFFER),
]
QUERY = "subscription OnCreateMessage($roomId: ID!) { onCreateMessage(roomId: $roomId) { id author body createdAt } }"
INIT = '{"type":"connection_init"}'
START = json.dumps(
    {
        "id": "0b1e2d3c-4f5a-6789-abcd-ef0123456789",
        "type": "start",
        "payload": {
            "data": json.dumps({"query": QUERY, "variables": {"roomId": "r1"}}),
            "extensions": {"authorization": {"host": "localhost:8080", "x-api-key": "da2-key"}},
        },
    }
)


def agree() -> Agreement:
    # Text of its own for each, as it comes from a socket.
    headers = [(name.encode().decode(), value.encode().decode()) for name, value in HEADERS]
    agreement = negotiate("/graphql/realtime", "", headers)
    assert isinstance(agreement, Agreement)
    return agreement


AGREEMENT = agree()


def connect() -> Session:
    session = Session(AGREEMENT, SETTINGS)
    session.receive(INIT)
    frames = [text_frame(effect.message) for effect in session.authorized() if isinstance(effect, Send)]
    (wish,) = session.receive(START)
    assert isinstance(wish, Subscribe)
    frames += [
        text_frame(effect.message) for effect in session.subscribed(wish.id, wish.token) if isinstance(effect, Send)
    ]
    assert len(frames) == 3
    return session


def _bytes_each(build: object) -> float:
    assert callable(build)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [build() for _ in range(COUNT)]
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / len(kept)
    finally:
        tracemalloc.stop()


def test_a_session_with_one_subscription_is_small() -> None:
    assert _bytes_each(connect) <= SESSION_BUDGET_BYTES


def test_the_headers_of_many_clients_share_their_text() -> None:
    assert _bytes_each(agree) <= HEADERS_BUDGET_BYTES


def test_joining_costs_the_same_for_any_number_of_subscribers() -> None:
    payloads = [b'{"data":{"onCreateMessage":{"body":"' + b"x" * 200 + b'"}}}'] * 4
    parts = join_parts(payloads, APPSYNC, 38)
    assert len(parts) == len(payloads) + 1
    # What is left for each subscriber: one join of ready bytes.
    assert sum(map(len, parts)) + 38 * len(payloads) == len((b'"' + b"i" * 36 + b'"').join(parts))
