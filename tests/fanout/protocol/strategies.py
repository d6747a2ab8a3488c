"""What hypothesis sends: arbitrary text and bytes, and messages that are nearly or wholly right."""

from __future__ import annotations

import json

from hypothesis import strategies as st

TYPES = (
    "connection_init",
    "connection_ack",
    "connection_terminate",
    "connection_error",
    "start",
    "start_ack",
    "stop",
    "subscribe",
    "complete",
    "data",
    "next",
    "error",
    "ping",
    "pong",
    "ka",
)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ids = st.sampled_from(["1", "2", "0b1e2d3c-4f5a-6789-abcd-ef0123456789", "ä", '"', ""]) | st.text(max_size=300)
overflows = st.sampled_from(["close", "drop-oldest", "latest", "x"]) | st.fixed_dictionaries(
    {}, optional={"policy": st.sampled_from(["close", "latest"]) | json_values, "path": st.text() | json_values}
)
fanout_extensions = st.fixed_dictionaries(
    {},
    optional={"positions": st.booleans(), "after": st.text() | json_values, "overflow": overflows | json_values},
)
operations = st.fixed_dictionaries(
    {},
    optional={
        "query": st.sampled_from(["subscription { a }", "subscription { b }"]) | json_values,
        "variables": st.dictionaries(st.text(), json_values, max_size=2) | json_values,
        "operationName": st.text() | json_values,
        "extensions": st.fixed_dictionaries({"fanout": fanout_extensions}) | json_values,
    },
)
extensions = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.dictionaries(st.text(), json_values, max_size=2) | json_values,
        "fanout": fanout_extensions | json_values,
    },
)
appsync_payloads = st.fixed_dictionaries(
    {}, optional={"data": operations.map(json.dumps) | json_values, "extensions": extensions | json_values}
)
payloads = operations | appsync_payloads | json_values | st.fixed_dictionaries({"headers": json_values})
messages = st.fixed_dictionaries(
    {},
    optional={"type": st.sampled_from(TYPES) | json_values, "id": ids | json_values, "payload": payloads},
).map(json.dumps)

texts: st.SearchStrategy[str | bytes] = st.one_of(
    messages, messages.map(str.encode), st.text(), st.binary(), json_values.map(json.dumps), st.just("[" * 2000)
)
