"""One connection: keep-alive, ends by the clock, slow clients, and everything that is not a text message."""

from __future__ import annotations

import asyncio
import random
import socket
import zlib
from math import inf
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from fanout.model import CloseReason
from tests.fanout.gateway.conftest import Harness, expect_close
from tests.served import AppSyncClient, wait_until_async

ON_CREATE = "subscription { onCreateMessage { id content } }"


async def test_a_keep_alive_follows_the_ack_and_then_every_minute(harness: Harness) -> None:
    async with harness.open() as client:
        await client.send({"type": "connection_init"})
        assert await client.connection.recv() == '{"type":"connection_ack","payload":{"connectionTimeoutMs":300000}}'
        assert await client.connection.recv() == '{"type":"ka"}'
        harness.pass_time(3 * 60_000)
        for _ in range(3):
            assert await asyncio.wait_for(client.connection.recv(), 20) == '{"type":"ka"}'
        await client.subscribe("s", ON_CREATE)


async def test_a_connection_that_never_initialises_is_closed(harness: Harness) -> None:
    async with harness.open() as client:
        harness.pass_time(harness.settings.init_timeout_ms + 1000)
        await expect_close(client, CloseReason.INIT_TIMEOUT)
    assert harness.metrics.closes[CloseReason.INIT_TIMEOUT.label] == 1


async def test_a_silent_client_is_pinged_and_one_that_answers_stays(harness: Harness) -> None:
    async with harness.connect(max_queue=None) as client:
        for _ in range(4):
            harness.pass_time(harness.settings.ping_after_silence_ms)
            waiter = await client.connection.ping()  # our own ping shows that the pong before it has arrived
            await asyncio.wait_for(waiter, 20)
        await client.subscribe("s", ON_CREATE)
        assert harness.metrics.closes.total() == 0


async def test_a_client_that_does_not_answer_a_ping_is_closed(build_harness: Any) -> None:
    harness = await build_harness(ping_after_silence_ms=5_000, pong_timeout_ms=2_000)
    async with harness.connect():
        harness.pass_time(8_000)  # no turn of the event loop in between: the pong cannot have arrived
        assert harness.metrics.closes[CloseReason.UNRESPONSIVE.label] == 1


async def test_an_idle_connection_is_closed_although_it_answers_pings(build_harness: Any) -> None:
    harness = await build_harness(ping_after_silence_ms=5_000, idle_timeout_ms=20_000)
    async with harness.connect() as client:
        for _ in range(4):
            harness.pass_time(5_000)
            try:
                await asyncio.wait_for(await client.connection.ping(), 20)
            except ConnectionClosed:
                break
        await expect_close(client, CloseReason.IDLE)


async def test_what_is_delivered_counts_as_activity(build_harness: Any) -> None:
    harness = await build_harness(ping_after_silence_ms=10**9, idle_timeout_ms=20_000)
    async with harness.connect() as listening, harness.connect() as unmatched:
        await listening.subscribe("s", ON_CREATE)
        for number in range(4):
            harness.pass_time(8_000)
            harness.deliver({"id": str(number)})
            assert (await listening.receive_data())[1]["data"]["onCreateMessage"]["id"] == str(number)
        await expect_close(unmatched, CloseReason.IDLE)
        harness.deliver({"id": "still"})
        await listening.receive_data()


async def test_a_life_ends_within_the_jitter(build_harness: Any) -> None:
    harness = await build_harness(max_lifetime_ms=100_000, lifetime_jitter=0.5, idle_timeout_ms=10**9)
    async with harness.connect() as client:
        harness.pass_time(49_000)
        assert harness.metrics.closes.total() == 0
        harness.pass_time(53_000)
        await expect_close(client, CloseReason.LIFETIME)


async def test_a_fragmented_message_is_one_message(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.connection.send(['{"id":"s","ty', 'pe":"sto', 'p"}'])
        await client.connection.send(['{"type":', '"nonsense"}'])
        assert (await client.receive())["type"] == "error"


async def test_a_binary_message_ends_the_connection(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.connection.send(b'{"type":"stop"}')
        await expect_close(client, CloseReason.BINARY_MESSAGE)


async def test_text_that_is_not_utf8_ends_the_connection(harness: Harness) -> None:
    async with harness.connect() as client:
        frame = Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True)
        client.connection.transport.write(frame)
        await expect_close(client, CloseReason.INVALID_TEXT)


async def test_a_message_over_the_limit_is_told(build_harness: Any) -> None:
    harness = await build_harness(max_message_bytes=1000)
    async with harness.connect() as client:
        await client.send("x" * 1001)
        await expect_close(client, CloseReason.MESSAGE_TOO_BIG, "frame with 1001 bytes exceeds limit of 1000 bytes")
    assert harness.metrics.closes[CloseReason.MESSAGE_TOO_BIG.label] == 1


async def test_a_violation_of_the_websocket_protocol_ends_the_connection(harness: Harness) -> None:
    async with harness.connect() as client:
        client.connection.transport.write(Frame(Opcode.TEXT, b"{}").serialize(mask=False))
        await expect_close(client, CloseReason.PROTOCOL_ERROR, "incorrect masking")


async def test_a_connection_that_is_cut_leaves_nothing_behind(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.subscribe("s", ON_CREATE)
        client.connection.transport.abort()
        await wait_until_async(lambda: harness.metrics.subscriptions == 0)
        assert len(harness.gateway) == 0
        assert harness.metrics.connections["appsync"] == 0
        assert harness.metrics.closes["lost"] == 1


async def test_a_closing_handshake_by_the_client_is_answered(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.subscribe("s", ON_CREATE)
        await client.connection.close(1000)
        assert client.connection.close_code == 1000
        await wait_until_async(lambda: harness.metrics.subscriptions == 0)
        assert harness.metrics.closes["client"] == 1


async def test_a_close_frame_right_behind_a_mistake_is_answered(harness: Harness) -> None:
    """Found by fuzzing: in one read, the end of the TCP connection was all that the client was told."""
    async with harness.open(subprotocols=["graphql-transport-ws"]) as client:
        mistake, close = Frame(Opcode.TEXT, b"{}"), Frame(Opcode.CLOSE, b"\x03\xe8")
        client.connection.transport.write(mistake.serialize(mask=True) + close.serialize(mask=True))
        await asyncio.wait_for(client.connection.wait_closed(), 20)
        assert client.connection.protocol.close_rcvd is not None
    assert harness.metrics.closes[CloseReason.BAD_MESSAGE.label] == 1


class SlowReader:
    """A client with a small receive buffer that reads only when told to."""

    def __init__(self, harness: Harness) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", int(harness.url.rpartition(":")[2])))


async def test_a_slow_client_is_closed_at_the_limit_and_delays_nobody(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=200_000)
    reader = SlowReader(harness)
    async with (
        harness.connect(sock=reader.socket, max_queue=1) as slow,
        harness.connect(max_queue=None) as quick,
    ):
        await slow.subscribe("s", ON_CREATE)
        await quick.subscribe("q", ON_CREATE)
        slow.connection.transport.pause_reading()
        sent = 0
        while not harness.metrics.closes[CloseReason.SLOW_CLIENT.label]:
            harness.deliver({"id": str(sent), "content": "x" * 20_000})
            assert (await quick.receive_data())[1]["data"]["onCreateMessage"]["id"] == str(sent)
            sent += 1
            assert sent < 2000
        assert harness.metrics.subscriptions == 1
        assert harness.metrics.drops["slow-client"] >= 1
        slow.connection.transport.resume_reading()
        received = []
        try:
            while True:
                received.append((await slow.receive_data())[1]["data"]["onCreateMessage"]["id"])
        except ConnectionClosed:
            pass
        # Nothing was skipped: what it got is the beginning of the stream, and then it was told why it ended.
        assert received == [str(number) for number in range(len(received))]
        await expect_close(slow, CloseReason.SLOW_CLIENT)


async def test_a_client_that_catches_up_goes_on_as_before(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=8_000_000)
    reader = SlowReader(harness)
    async with harness.connect(sock=reader.socket, max_queue=1) as client:
        await client.subscribe("s", ON_CREATE)
        client.connection.transport.pause_reading()
        for number in range(150):  # 6 MB: more than sockets buffer, past the quarter at which writing is watched
            harness.deliver({"id": str(number), "content": "x" * 40_000})
        client.connection.transport.resume_reading()
        for number in range(150):
            assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == str(number)
        harness.deliver({"id": "after"})
        assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == "after"
        assert harness.metrics.drops.total() == 0


@pytest.mark.parametrize("cut", [CloseReason.SLOW_CLIENT])
async def test_a_peer_that_never_answers_our_close_is_dropped(harness: Harness, cut: CloseReason) -> None:
    async with harness.connect() as client:
        await client.subscribe("s", ON_CREATE)
        client.connection.transport.pause_reading()
        connection = next(iter(harness.gateway._connections))
        connection.close(cut)
        assert len(harness.gateway) == 0
        harness.pass_time(11_000)
        client.connection.transport.resume_reading()
        await asyncio.wait_for(client.connection.wait_closed(), 20)


async def test_a_defect_of_ours_ends_that_connection_only(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with harness.connect() as bystander, harness.connect() as unlucky:
        await bystander.subscribe("s", ON_CREATE)

        def fail(*arguments: object) -> None:
            raise RuntimeError("defect")

        with monkeypatch.context() as patched:
            patched.setattr(harness.subscriptions, "start", fail)
            await unlucky.send_start("s", ON_CREATE)
            await expect_close(unlucky, CloseReason.INTERNAL_ERROR)
        assert "defect" in caplog.text
        harness.deliver({"id": "1"})
        await bystander.receive_data()


async def test_empty_fragments_are_not_collected(harness: Harness) -> None:
    async with harness.connect() as client:
        transport = client.connection.transport
        transport.write(Frame(Opcode.TEXT, b'{"type":', fin=False).serialize(mask=True))
        for _ in range(1000):
            transport.write(Frame(Opcode.CONT, b"", fin=False).serialize(mask=True))
        await asyncio.wait_for(await client.connection.ping(), 20)
        (connection,) = harness.gateway._connections
        assert connection._fragments == [b'{"type":']
        transport.write(Frame(Opcode.CONT, b'"nonsense"}', fin=True).serialize(mask=True))
        assert (await client.receive())["type"] == "error"


async def test_nothing_is_written_after_a_gap(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=1_000_000)
    reader = SlowReader(harness)
    async with harness.connect(sock=reader.socket, max_queue=1) as client:
        await client.subscribe("s", ON_CREATE)
        client.connection.transport.pause_reading()
        while not harness.metrics.drops["slow-client"]:
            harness.deliver({"id": "large", "content": "x" * 200_000})
        harness.deliver({"id": "after"})
        client.connection.transport.resume_reading()
        received = []
        try:
            while True:
                received.append((await client.receive_data())[1]["data"]["onCreateMessage"]["id"])
        except ConnectionClosed:
            pass
        assert "after" not in received
        await expect_close(client, CloseReason.SLOW_CLIENT)


async def start_with_policy(client: AppSyncClient, id: str, overflow: object) -> dict[str, Any]:
    await send_start_with_policy(client, id, overflow)
    return await client.receive()


async def send_start_with_policy(client: AppSyncClient, id: str, overflow: object) -> None:
    data = orjson.dumps({"query": ON_CREATE}).decode()
    extensions = {"fanout": {"positions": False, "overflow": overflow}}
    await client.send({"id": id, "type": "start", "payload": {"data": data, "extensions": extensions}})


def count_overflow(harness: Harness) -> int:
    return sum(count for reason, count in harness.metrics.drops.items() if reason.startswith("overflow"))


def deliver_until_dropped(harness: Harness) -> int:
    """Deliver events until some were dropped; returns how many there were."""
    count = 0
    while not count_overflow(harness):
        # Not to be compressed to nothing.
        harness.deliver({"id": str(count), "content": random.Random(count).randbytes(10_000).hex()})
        count += 1
        assert count < 4000
    return count


@pytest.mark.parametrize("overflow", ["drop-oldest", "latest", {"policy": "latest", "path": "id"}], ids=str)
async def test_a_slow_client_with_a_policy_stays_and_is_told_what_it_missed(
    build_harness: Any, overflow: object
) -> None:
    harness = await build_harness(max_outgoing_bytes=400_000)
    reader = SlowReader(harness)
    async with harness.connect(sock=reader.socket, max_queue=1) as client:
        assert await start_with_policy(client, "s", overflow) == {"type": "start_ack", "id": "s"}
        client.connection.transport.pause_reading()
        count = deliver_until_dropped(harness)
        await send_start_with_policy(client, "late", overflow)
        await wait_until_async(lambda: harness.metrics.subscriptions == 2)
        client.connection.transport.resume_reading()
        received = [message async for message in read_until_last(client, count)]
        # The acknowledgement of a later subscription does not wait for what waits.
        assert {"type": "start_ack", "id": "late"} in received
        payloads = [message["payload"] for message in received if message["type"] == "data"]
        dropped = sum(map(read_dropped, payloads))
        assert len(payloads) + dropped == count
        assert dropped == count_overflow(harness) > 0
        harness.deliver({"id": str(count)})
        assert {(await client.receive_data())[0] for _ in range(2)} == {"s", "late"}
        assert len(harness.subscriptions.backlogs) == 0
        assert harness.metrics.closes.total() == 0


def read_dropped(payload: dict[str, Any]) -> int:
    return int(payload.get("extensions", {}).get("fanout", {}).get("dropped", 0))


async def read_until_last(client: AppSyncClient, count: int) -> Any:
    """Messages up to the last event of `count`, which have to be in order, with the missing ones told."""
    expected = 0
    while expected < count:
        message = await client.receive()
        if message["type"] == "data":
            expected += read_dropped(message["payload"])
            assert message["payload"]["data"]["onCreateMessage"]["id"] == str(expected)
            expected += 1
        yield message


async def test_policies_work_with_compression(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=400_000, compression=True)
    reader = SlowReader(harness)
    async with harness.connect(sock=reader.socket, max_queue=1) as client:
        await start_with_policy(client, "s", "drop-oldest")
        client.connection.transport.pause_reading()
        count = deliver_until_dropped(harness)
        client.connection.transport.resume_reading()
        received = [message async for message in read_until_last(client, count)]
        assert sum(read_dropped(message["payload"]) for message in received) == count_overflow(harness)


async def test_what_waits_for_its_turn_is_not_inflated_before(build_harness: Any) -> None:
    harness = await build_harness(compression=True)
    texts = [b'{"type":"ping","payload":{"n":%d}}' % number + b" " * 120_000 for number in range(500)]
    async with harness.open(subprotocols=["graphql-transport-ws"], compression="deflate") as client:
        (connection,) = harness.server.server_state.connections
        turns = harness.gateway.turns
        turns._ends_at = -inf  # this turn's budget is used up
        connection.data_received(b"".join(write_compressed(text) for text in texts))
        waiting = turns._waiting[connection]
        assert sum(len(work.data) for work in waiting if isinstance(work, Frame)) < 5_000_000
        turns._begin()
        for number in range(len(texts)):
            assert await client.receive() == {"type": "pong", "payload": {"n": number}}
        assert len(turns) == 0


def write_compressed(text: bytes) -> bytes:
    """A client's frame whose data is 126 bytes or more, masked with zeros."""
    deflating = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (deflating.compress(text) + deflating.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")
    assert 126 <= len(data) < 1 << 16
    return b"\xc1\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


async def test_a_slow_client_that_is_closed_for_another_reason_gets_what_waits(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=400_000)
    reader = SlowReader(harness)
    async with harness.connect(sock=reader.socket, max_queue=1) as client:
        await start_with_policy(client, "s", "drop-oldest")
        client.connection.transport.pause_reading()
        count = deliver_until_dropped(harness)
        (connection,) = harness.gateway._connections
        connection.close(CloseReason.DRAINING)
        client.connection.transport.resume_reading()
        assert [message["id"] async for message in read_until_last(client, count)]
        await expect_close(client, CloseReason.DRAINING)


async def test_one_subscription_without_a_policy_is_enough_to_be_closed(build_harness: Any) -> None:
    harness = await build_harness(max_outgoing_bytes=400_000)
    reader = SlowReader(harness)
    async with harness.connect(sock=reader.socket, max_queue=1) as client:
        await start_with_policy(client, "s", "latest")
        await client.subscribe("strict", ON_CREATE)
        client.connection.transport.pause_reading()
        while not harness.metrics.drops["slow-client"]:
            harness.deliver({"id": "1", "content": "x" * 20_000})
        client.connection.transport.resume_reading()
        try:
            while True:
                await client.receive()
        except ConnectionClosed:
            pass
        await expect_close(client, CloseReason.SLOW_CLIENT)
    assert len(harness.subscriptions.backlogs) == 0


async def test_a_path_that_is_not_selected_is_a_mistake(harness: Harness) -> None:
    async with harness.connect() as client:
        for path in ("roomId", "id.nothing"):
            answer = await start_with_policy(client, "s", {"policy": "latest", "path": path})
            [error] = answer["payload"]["errors"]
            assert f"'{path}' is not among what the subscription selects" in error["message"]


async def test_policies_make_groups_of_their_own(harness: Harness) -> None:
    async with harness.connect() as client:
        await client.subscribe("a", ON_CREATE)
        for number, overflow in enumerate(("close", "drop-oldest", "latest", {"policy": "latest", "path": "id"})):
            assert (await start_with_policy(client, str(number), overflow))["type"] == "start_ack"
        assert harness.metrics.groups == 4
