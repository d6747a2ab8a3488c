"""Any bytes on a WebSocket: an answer or a client fault, and nobody else notices. Promise 6 on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from fanout.model import CloseReason
from tests.fanout.protocol.judge import read_frames
from tests.fanout.protocol.test_session_model import SERVER_TYPES
from tests.fuzz.effort import fuzzed
from tests.fuzz.strategies import chunks_of, client_frames, event_data, event_mutations, preludes, upgrades
from tests.fuzz.wire import Client, Wire, WireRunner, measure_retained_bytes, upgrade_request
from tests.served import API_KEY, encode_header

SMALL = {
    "max_message_bytes": 4000,
    "max_outgoing_bytes": 20_000,
    "max_subscriptions_per_connection": 3,
    "compression": True,
    # The bystander does not answer pings, and there is one for all examples.
    "connection_timeout_ms": 10**12 + 1,
    **dict.fromkeys(("keep_alive_interval_ms", "ping_after_silence_ms", "idle_timeout_ms", "max_lifetime_ms"), 10**12),
}
ALL_TYPES = set().union(*SERVER_TYPES.values())
CLOSE_CODES = {reason.code for reason in CloseReason}


@pytest.fixture(scope="module")
def wired() -> Iterator[WireRunner]:
    """With the shortest turns, so that messages wait for one another as they do on a busy gateway."""
    runner = WireRunner(**SMALL, work_budget_ms=1)
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def patient() -> Iterator[WireRunner]:
    """With turns that never end, so that nothing depends on how long anything takes."""
    runner = WireRunner(**SMALL, work_budget_ms=10**9)
    yield runner
    runner.close()


def check_written(data: bytes) -> None:
    """What the client was sent: an HTTP answer, then frames that are ours in every way."""
    if not data:
        return
    head, separator, frames = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 ")
    assert separator
    status = int(head[9:12])
    assert status == 101 or 400 <= status < 500, head
    if status != 101:
        return
    for frame in read_frames(frames):
        if frame.opcode == 1:
            message = orjson.loads(frame.data)
            assert message["type"] in ALL_TYPES
            assert b"InternalError" not in frame.data
        elif frame.opcode == 8:
            assert int.from_bytes(frame.data[:2], "big") in CLOSE_CODES | {1000, 1001, 3000, 4000} or not frame.data


class _Conversation:
    """One hostile client's doing, step by step."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.client = Client(wire)

    async def do(self, kind: str, value: object) -> None:
        transport = self.client.transport
        match kind:
            case "feed":
                assert isinstance(value, bytes)
                self.client.feed(value)
            case "deliver":
                assert isinstance(value, tuple)
                self.wire.deliver(value[1], mutation=value[0])
            case "stall":
                transport.is_stalled = True
            case "resume":
                transport.resume()
            case "settle":
                await self.wire.settle()
            case "end":
                self.client.feed_end()
            case "time":
                assert isinstance(value, int)
                self.wire.harness.pass_time(value, step_ms=value)

    async def finish(self) -> bytes:
        await self.wire.settle()
        written = b"".join(self.client.transport.written)
        self.client.lose()
        await self.wire.settle()
        return written


steps = st.one_of(
    client_frames.map(lambda data: ("feed", data)),
    client_frames.map(lambda data: ("feed", data)),
    client_frames.map(lambda data: ("feed", data)),
    st.tuples(event_mutations, event_data).map(lambda event: ("deliver", event)),
    st.sampled_from([("stall", None), ("resume", None), ("settle", None), ("end", None), ("time", 5000)]),
)


@fuzzed
@given(upgrades, preludes, st.lists(steps, max_size=12))
def test_any_conversation(wired: WireRunner, upgrade: bytes, prelude: bytes, script: list[tuple[str, object]]) -> None:

    async def converse(wire: Wire) -> None:
        conversation = _Conversation(wire)
        await conversation.do("feed", upgrade)
        await conversation.do("feed", prelude)
        await conversation.do("settle", None)
        for kind, value in script:
            await conversation.do(kind, value)
        check_written(await conversation.finish())
        settings = wire.harness.settings
        largest = conversation.client.transport.largest_buffered
        assert largest <= settings.max_outgoing_bytes + settings.max_payload_bytes, "bounded outgoing bytes"
        wire.check_bystander()
        wire.check_only_bystander_left()

    wired.run(converse)


@fuzzed
@given(
    upgrades, preludes, st.lists(client_frames, max_size=8), st.lists(st.integers(0, 4000), max_size=6), st.booleans()
)
def test_the_outcome_does_not_depend_on_how_the_bytes_are_cut(
    patient: WireRunner, upgrade: bytes, prelude: bytes, frames: list[bytes], cuts: list[int], is_ended: bool
) -> None:
    stream = prelude + b"".join(frames)

    async def outcome(wire: Wire, chunks: list[bytes]) -> tuple[object, ...]:
        client = Client(wire)
        client.feed(upgrade)
        for chunk in chunks:
            client.feed(chunk)
        if is_ended:
            client.feed_end()
        await wire.settle()
        transport = client.transport
        result = _summarise(b"".join(transport.written)), client.protocol.closing is not None
        client.lose()
        await wire.settle()
        return result

    async def compare(wire: Wire) -> None:
        whole = await outcome(wire, [stream])
        assert await outcome(wire, [bytes([byte]) for byte in stream]) == whole
        assert await outcome(wire, chunks_of(stream, cuts)) == whole
        wire.check_bystander()
        wire.check_only_bystander_left()

    patient.run(compare)


def _summarise(data: bytes) -> tuple[object, ...]:
    """The HTTP answer, all messages, all pongs, and whether a close frame followed.

    Pongs may change places with messages of the same read; those to pings that come in the same read as what we
    close for are not counted. And when the client's own close frame comes in that read, then it is answered.
    """
    head, _, rest = data.partition(b"\r\n\r\n")
    frames = read_frames(rest) if head.startswith(b"HTTP/1.1 101") else []
    is_closed = any(frame.opcode == Opcode.CLOSE for frame in frames)
    messages = [frame.data for frame in frames if frame.opcode == Opcode.TEXT]
    pongs = None if is_closed else [frame.data for frame in frames if frame.opcode == Opcode.PONG]
    return [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")], messages, pongs, is_closed


# The state of a connection that has nothing to answer for yet, and the limits of SMALL; several times what is meant
# to be kept, far below what a leak of a hundred messages would be.
_MOST_RETAINED_BYTES = 120_000

upgrades_accepted = st.sampled_from(
    [
        upgrade_request(
            "/graphql", [("Sec-WebSocket-Protocol", f"{name}, {encode_header({'host': 'h', 'x-api-key': API_KEY})}")]
        )
        for name in ("graphql-ws", "graphql-transport-ws")
    ]
    + [upgrade_request("/graphql", [("Sec-WebSocket-Protocol", "graphql-ws"), ("x-api-key", API_KEY)])]
)


@fuzzed
@given(upgrades_accepted, preludes, st.lists(client_frames, min_size=1, max_size=4), st.integers(50, 150))
def test_what_a_connection_keeps_is_bounded(
    wired: WireRunner, upgrade: bytes, prelude: bytes, frames: list[bytes], times: int
) -> None:
    """The same bytes over and over, of which a defect would keep each."""

    async def repeat(wire: Wire) -> None:
        client = Client(wire)
        client.feed(upgrade)
        client.feed(prelude)
        for _ in range(times):
            for frame in frames:
                client.feed(frame)
            client.take_written()
        await wire.settle()
        client.take_written()
        harness = wire.harness
        gateway = (harness.gateway, harness.subscriptions, harness.catch_up, harness.registry, harness.settings)
        shared = (wire, harness, *gateway, wire._state.connections)
        retained = measure_retained_bytes(client.protocol, (*shared, client.transport, asyncio.get_running_loop()))
        assert retained < _MOST_RETAINED_BYTES
        client.lose()
        await wire.settle()
        wire.check_only_bystander_left()

    wired.run(repeat)
