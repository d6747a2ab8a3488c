"""What clients send, from right through nearly right to noise: documents, filters, messages, frames, upgrades.

Built so that most examples get past the outer layers: noise alone would only ever test the first parser.
"""

from __future__ import annotations

import base64
import json

import orjson
from hypothesis import strategies as st
from websockets.frames import Opcode

from tests.fanout.protocol.strategies import json_values, texts
from tests.fuzz.wire import client_frame, upgrade_request
from tests.served import API_KEY

# GraphQL documents for the built-in chat schema

SUBSCRIPTION_FIELDS = ("onCreateMessage", "onUpdateMessage", "onDeleteMessage", "onMessageEvent")
_FIELDS = ("id", "roomId", "author", "content", "kind", "priority", "tags", "createdAt", "__typename", "nothing")
_selection_leaves = st.sampled_from([*_FIELDS, "a: id", "context { userId device metadata }", "attachments { url }"])
selections = st.recursive(
    st.lists(_selection_leaves, min_size=1, max_size=4).map(" ".join),
    lambda inner: st.one_of(
        inner.map(lambda text: f"... on Message {{ {text} }}"),
        inner.map(lambda text: f"... @include(if: $yes) {{ {text} }}"),
        st.tuples(inner, inner).map(" ".join),
        st.just("...F"),
    ),
    max_leaves=4,
)
graphql_values = st.recursive(
    st.sampled_from(["null", "true", "1", "-0", "1.5e3", '"s"', '"\\ud83d\\ude00"', '"""b"""', "TEXT", "$a", "$yes"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: f"[{' '.join(values)}]"),
        st.dictionaries(st.sampled_from(["eq", "in", "and", "or", "roomId", "content", "x"]), inner, max_size=2).map(
            lambda members: "{" + " ".join(f"{name}: {value}" for name, value in members.items()) + "}"
        ),
    ),
    max_leaves=5,
)
arguments = st.dictionaries(
    st.sampled_from(["roomId", "author", "kind", "filter", "id", "nope"]), st.just("$a") | graphql_values, max_size=2
).map(lambda given: f"({', '.join(f'{name}: {value}' for name, value in given.items())})" if given else "")
_directives = st.sampled_from(["", "", "", " @include(if: $yes)", " @skip(if: true)", " @nope", " @defer"])


@st.composite
def subscription_documents(draw: st.DrawFn) -> str:
    """A subscription that is mostly right; `$a` and `$yes` are its variables."""
    kind = draw(st.sampled_from(["ID", "ID!", "String", "MessageFilterInput", "AWSJSON", "[ID!]", "Nope"]))
    field = draw(st.sampled_from(SUBSCRIPTION_FIELDS))
    selection = draw(selections)
    head = f"subscription S($a: {kind}, $yes: Boolean = true)"
    root = f"{field}{draw(arguments)}{draw(_directives)} {{ {selection} }}"
    text = f"{head} {{ {root} {draw(st.sampled_from(['', '', '', root, '__typename']))} }}"
    return text + (f" fragment F on Message {{ {draw(selections)} }}" if "...F" in text or draw(st.booleans()) else "")


@st.composite
def mutation_documents(draw: st.DrawFn) -> str:
    operation = draw(st.sampled_from(["mutation", "mutation M", "query", "query Q", "subscription", "{"]))
    field = draw(st.sampled_from(["createMessage", "updateMessage", "deleteMessage", "createRoom", "listMessages"]))
    value = draw(st.sampled_from(["$a", "{roomId: 1, id: 2}", '{roomId: "1"}']) | graphql_values)
    variables = draw(st.sampled_from(["($a: CreateMessageInput!)", "($a: AWSJSON)", "($yes: Boolean = true)", ""]))
    opening = "" if operation == "{" else f"{operation}{variables} {{"
    return f"{opening or '{'} {field}(input: {value}){draw(_directives)} {{ {draw(selections)} }} }}"


@st.composite
def damaged(draw: st.DrawFn, documents: st.SearchStrategy[str]) -> str:
    """A text with one part taken out, doubled or overwritten."""
    text = draw(documents)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 20)))
    middle = draw(st.sampled_from(["", text[start:end] * 2, "{", "}", "(", '"', "#", "\x00", "...", "$"]) | st.text())
    return text[:start] + middle + text[end:]


_words = "{ } ( ) [ ] : $ ! @ ... = | & query mutation subscription fragment on F Message id onCreateMessage null"
_tokens = st.sampled_from([*_words.split(), "1", '"s"', '"""', "#", "\n", "é"])
token_soups = st.lists(_tokens, max_size=30).map(" ".join)
documents = st.one_of(
    subscription_documents(),
    subscription_documents(),
    mutation_documents(),
    damaged(subscription_documents()),
    damaged(mutation_documents()),
    token_soups,
    st.text(),
)

# Variables and filters

_operands = st.one_of(
    st.sampled_from(["r1", "", 1, -0.0, 1.5, True, None, 10**400]),
    st.lists(st.sampled_from(["r1", 1, None, True]), max_size=25),
    json_values,
)
_operators = st.sampled_from(
    "eq ne lt le gt ge contains notContains beginsWith between in notIn containsAny nope".split()  # noqa: SIM905
)
_paths = st.sampled_from(["roomId", "id", "author", "content", "context.userId", "a.b.c.d.e.f", "", ".", "tags", "and"])
filters = st.recursive(
    st.dictionaries(_paths, st.dictionaries(_operators, _operands, max_size=2) | _operands, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["and", "or", "not"]), st.lists(inner, max_size=3), max_size=2),
    max_leaves=8,
)
_as_text = filters.map(json.dumps)
variables = st.one_of(
    st.dictionaries(st.sampled_from(["a", "yes", "b"]), st.one_of(filters, _as_text, json_values), max_size=2),
    json_values,
)


# Messages of all dialects

ids = st.sampled_from(["1", "2", "3", "ä" * 40])
credentials = st.sampled_from(
    [{"host": "localhost", "x-api-key": API_KEY}] * 3
    + [{"x-api-key": "wrong"}, {"X-Api-Key": API_KEY, "x-api-key": 1}, {}]
)
fanout_extensions = st.fixed_dictionaries(
    {},
    optional={
        "positions": st.booleans() | json_values,
        "after": st.text(max_size=20) | json_values,
        "overflow": st.sampled_from(["close", "drop-oldest", "latest", {"policy": "latest", "path": "roomId"}])
        | json_values,
    },
)
operations = st.fixed_dictionaries(
    {"query": documents},
    optional={"variables": variables, "operationName": st.sampled_from(["S", "M", "", None, "nope", 1])},
)
whole_extensions = st.fixed_dictionaries(
    {}, optional={"authorization": credentials | json_values, "fanout": fanout_extensions | json_values}
)
appsync_starts = st.fixed_dictionaries(
    {
        "type": st.just("start"),
        "id": ids,
        "payload": st.fixed_dictionaries(
            {"data": operations.map(json.dumps)}, optional={"extensions": whole_extensions}
        ),
    }
)
plain_starts = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["subscribe", "start"]),
        "id": ids,
        "payload": st.tuples(operations, st.fixed_dictionaries({}, optional={"extensions": whole_extensions})).map(
            lambda parts: {**parts[0], **parts[1]}
        ),
    }
)
inits = st.fixed_dictionaries(
    {"type": st.just("connection_init")},
    optional={"payload": st.one_of(credentials, st.fixed_dictionaries({"headers": credentials}), json_values)},
)
short_messages = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["stop", "complete"]), "id": ids}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["ping", "pong", "connection_terminate"])}, optional={"payload": json_values}
    ),
)
message_texts = st.one_of(
    *[strategy.map(lambda message: json.dumps(message).encode()) for strategy in (appsync_starts, plain_starts)],
    inits.map(lambda message: json.dumps(message).encode()),
    short_messages.map(lambda message: json.dumps(message).encode()),
    texts.map(lambda text: text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")),
)

# Frames

_text_frames = message_texts.map(lambda text: client_frame(Opcode.TEXT, text))


@st.composite
def raw_frames(draw: st.DrawFn) -> bytes:
    """A frame of any header, whether it is allowed or not, whose length may be a lie (RFC 6455 section 5.2)."""
    payload = draw(st.binary(max_size=140) | message_texts)
    first = draw(st.sampled_from([0x81, 0x81, 0x01, 0x80, 0x00, 0x82, 0x88, 0x89, 0x8A]) | st.integers(0, 255))
    is_masked = draw(st.sampled_from([True, True, True, False]))
    told = draw(st.sampled_from([len(payload)] * 6 + [0, 125, 126, 65535, 65536, 2**40, 2**63 - 1, 2**64 - 1]))
    form = draw(st.sampled_from([0, 0, 0, 2, 8]))
    if form == 0:
        form = 2 if 126 <= told <= 65535 else 8 if told > 65535 else 0
    if form == 2 and told > 65535:
        form = 8
    short = {0: told, 2: 126, 8: 127}[form]
    head = bytes([first, short | (0x80 if is_masked else 0)]) + (told.to_bytes(form, "big") if form else b"")
    if not is_masked:
        return head + payload
    mask = draw(st.binary(min_size=4, max_size=4))
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@st.composite
def fragments(draw: st.DrawFn) -> bytes:
    """One message in several frames, perhaps with a control frame or something forbidden in between."""
    text = draw(message_texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=1, max_size=4)))
    parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    between = draw(st.sampled_from([b"", b"", client_frame(Opcode.PING, b"p")]) | raw_frames())
    frames = [
        client_frame(Opcode.CONT if index else Opcode.TEXT, part, fin=index == len(parts) - 1)
        for index, part in enumerate(parts)
    ]
    return frames[0] + between + b"".join(frames[1:])


_closes = st.sampled_from([b"", b"\x03", b"\x03\xe8", b"\x03\xe8bye", b"\x03\xe8\xff", b"\x00\x00", b"\x0f\xa0x"]).map(
    lambda body: client_frame(Opcode.CLOSE, body)
)
client_frames = st.one_of(
    _text_frames, _text_frames, _text_frames, fragments(), raw_frames(), _closes, st.binary(max_size=20)
)

good_start = {
    "type": "start",
    "id": "1",
    "payload": {
        "query": "subscription { onCreateMessage { id content context { metadata } } }",
        "data": json.dumps({"query": "subscription { onCreateMessage { id content context { metadata } } }"}),
        "extensions": {"authorization": {"host": "localhost", "x-api-key": API_KEY}},
    },
}
_good_init = client_frame(Opcode.TEXT, b'{"type":"connection_init"}')
_good_starts = [
    client_frame(Opcode.TEXT, json.dumps({**good_start, "type": kind}).encode()) for kind in ("start", "subscribe")
]
preludes = st.sampled_from(
    [b"", _good_init, _good_init, _good_init + _good_starts[0], _good_init + _good_starts[1], _good_starts[0]]
)
"""What a conversation begins with, so that what follows meets every state."""

# Upgrades

_header_objects = st.one_of(credentials, json_values).map(lambda value: json.dumps(value).encode()) | st.binary(
    max_size=40
)
_encoded = st.one_of(
    _header_objects.map(lambda data: base64.urlsafe_b64encode(data).decode()),
    _header_objects.map(lambda data: base64.b64encode(data).decode().rstrip("=")),
    st.text(max_size=20),
)
_good_object = base64.urlsafe_b64encode(orjson.dumps({"host": "localhost", "x-api-key": API_KEY})).decode()
subprotocols = st.lists(
    st.one_of(
        st.sampled_from(
            ["graphql-ws", "graphql-ws", "graphql-transport-ws", "mqtt", "", "header-", f"header-{_good_object}"]
        ),
        _encoded.map(lambda text: f"header-{text}"),
    ),
    max_size=3,
).map(", ".join)
paths = st.one_of(
    st.sampled_from(
        ["/graphql", "/graphql/realtime", "/graphql/realtime", "/", "", "*", "//", "/graphql/", "http://x/graphql"]
    ),
    _encoded.map(lambda text: f"/graphql/realtime?header={text}"),
    st.text(max_size=20).map(lambda text: f"/graphql?{text}"),
)
header_values = st.text(st.characters(max_codepoint=255), max_size=20)
upgrades = st.one_of(
    st.sampled_from(
        [
            upgrade_request("/graphql", [("Sec-WebSocket-Protocol", f"graphql-ws, header-{_good_object}")]),
            upgrade_request("/graphql", [("Sec-WebSocket-Protocol", "graphql-transport-ws"), ("x-api-key", API_KEY)]),
            upgrade_request("/graphql", [("Sec-WebSocket-Protocol", "graphql-ws"), ("x-api-key", API_KEY)]),
        ]
    ),
    st.builds(
        lambda path, offered, name, value: upgrade_request(
            path.replace("\r", "").replace("\n", ""), [("sec-websocket-protocol", offered), (name, value)]
        ),
        paths,
        subprotocols,
        st.sampled_from(
            ["x-api-key", "Authorization", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Upgrade", "Origin"]
        )
        | st.sampled_from(["Connection", "Sec-WebSocket-Extensions", "Host", "X"]),
        st.sampled_from([API_KEY, "13", "websocket", "permessage-deflate; client_max_window_bits=9"]) | header_values,
    ),
    damaged(st.just(upgrade_request("/graphql", [("x-api-key", API_KEY)]).decode("latin-1"))).map(
        lambda text: text.encode("latin-1", "replace")
    ),
    st.binary(max_size=200),
).map(lambda data: data.partition(b"\r\n\r\n")[0].rstrip(b"\r\n") + b"\r\n\r\n")
"""One request and nothing behind it: uvicorn writes it out again from what it has parsed."""

# Events

event_data = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.sampled_from(["1", 2, None]) | json_values,
            "roomId": st.sampled_from(["r1", "1", 1]) | json_values,
            "content": json_values,
            "kind": st.sampled_from(["TEXT", "NOPE"]) | json_values,
            "priority": st.sampled_from([1, 2**40, 1.5, "1"]) | json_values,
            "tags": json_values,
            "createdAt": st.sampled_from(["2026-01-01T00:00:00Z", "x"]) | json_values,
            "context": st.fixed_dictionaries({}, optional={"userId": json_values, "metadata": json_values})
            | json_values,
            "attachments": json_values,
        },
    ),
    json_values,
)
event_mutations = st.sampled_from(["createMessage", "updateMessage", "deleteMessage"])


def chunks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at these places."""
    places = sorted({cut for cut in cuts if 0 < cut < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
