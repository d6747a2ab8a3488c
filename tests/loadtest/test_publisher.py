import itertools
import json
import socket
import threading
import time

import pytest
import redis

from loadtest import chat
from loadtest.marks import EVERYBODY, Mark, build_key, name_room
from loadtest.processes import run_redis
from loadtest.publisher import (
    STREAM,
    PublishError,
    Sequencer,
    build_messages,
    draw_rooms,
    open_publisher,
    post,
    publish_at_rate,
    publish_with_lead,
)

MARKS = [Mark(0, 1, 0), Mark(7, 12, 5), Mark(EVERYBODY, 1, 0)]


@pytest.fixture(scope="module")
def redis_url():
    with run_redis() as url:
        yield url


@pytest.mark.parametrize("at_once", [False, True])
def test_events_are_in_the_stream_in_order(redis_url, at_once):
    with redis.Redis.from_url(redis_url) as client, open_publisher(redis_url, at_once=at_once) as publisher:
        client.delete(STREAM)
        publisher.publish(MARKS)
        publisher.publish(MARKS[:1])
        entries = [fields for _, fields in client.xrange(STREAM)]
    assert [fields[b"mutation"] for fields in entries] == [chat.MUTATION.encode()] * 4
    contents = [json.loads(fields[b"data"])["content"] for fields in entries]
    assert contents == [build_key(mark) for mark in [*MARKS, MARKS[0]]]


def test_redis_is_also_reached_over_tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def answer():
            with listener.accept()[0] as connection:
                taken.append(connection.recv(65536))
                connection.sendall(b"$3\r\n1-1\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with open_publisher(f"redis://127.0.0.1:{listener.getsockname()[1]}") as publisher:
            publisher.publish(MARKS[:1])
        thread.join()
    assert taken[0].startswith(b"*10\r\n$4\r\nXADD\r\n")


@pytest.mark.parametrize("at_once", [False, True])
def test_a_refusal_is_told(redis_url, at_once):
    with redis.Redis.from_url(redis_url) as client, open_publisher(redis_url, at_once=at_once) as publisher:
        client.set(STREAM, "no stream")
        with pytest.raises(PublishError, match="WRONGTYPE"):
            publisher.publish(MARKS)
        client.delete(STREAM)


def test_messages_are_what_json_would_write():
    for mark, message in zip(MARKS, build_messages(MARKS), strict=True):
        data = json.loads(message)
        expected = chat.build_message(build_key(mark), name_room(mark.room), data["createdAt"])
        assert data == expected | {"id": f"{mark.room}-{mark.sequence}"}
        assert json.dumps(data, separators=(",", ":")).encode() == message


def test_events_are_numbered_by_room():
    sequencer = Sequencer({})
    assert [sequencer.next_mark(room, 9) for room in (0, 1, 0)] == [Mark(0, 1, 9), Mark(1, 1, 9), Mark(0, 2, 9)]


def test_the_lead_is_bounded():
    published = []
    taken = 0

    def count_lead():
        nonlocal taken
        lead = len(published) - taken
        assert lead <= 20
        taken = len(published) if lead == 20 else taken
        return lead

    events = publish_with_lead(published.extend, lambda: Mark(0, 1, 0), count_lead, lead=20, batch=10, seconds=0.05)
    assert events == len(published) > 20


def test_a_rate_is_kept_and_a_stall_is_not_left_out():
    published = []

    def publish(marks):
        if not published:
            time.sleep(0.05)  # the stall; what is due meanwhile keeps its intended time
        published.extend(marks)

    sent, late_s = publish_at_rate(publish, lambda at_ns: Mark(0, 1, at_ns), events_per_s=1000, seconds=0.1)
    intended = [mark.intended_ns for mark in published]
    assert sent == len(intended) == 100
    assert {later - earlier for earlier, later in itertools.pairwise(intended)} == {1_000_000}
    assert late_s >= 0.049


def test_random_rooms_are_the_same_in_every_run():
    first, second = draw_rooms(50, 1), draw_rooms(50, 1)
    rooms = [first() for _ in range(1000)]
    assert rooms == [second() for _ in range(1000)]
    assert set(rooms) == set(range(50))


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], ""),
        ([b"HTTP/1.1 2", b"01 Created\r\nContent-Length: 6\r\n", b"\r\nque", b"ued"], ""),
        ([b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n"], "peer answered b'HTTP/1.1 500"),
        ([b"HTTP/1.1 201 Cre"], "peer closed the connection"),
    ],
)
def test_an_answer_is_read_as_a_whole(answers, text):
    ours, theirs = socket.socketpair()

    def answer():
        request = b""
        while not request.endswith(b"{}"):
            request += theirs.recv(100)
        for part in answers:
            theirs.sendall(part)
        theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=answer)
    thread.start()
    with ours, theirs:
        if text:
            with pytest.raises(OSError, match=text):
                post(ours, b"{}", "peer")
        else:
            post(ours, b"{}", "peer")
            assert ours.recv(100) == b""
        thread.join()
