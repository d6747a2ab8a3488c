"""One process and its successors, with commands of the test's own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

import pytest

from fanout.resolvers.child import Call, Child
from fanout.resolvers.sandbox import ResourceLimitExceeded
from tests.served import wait_until_async

ECHO = """
import sys
sys.stdin.readline()
print("ready", flush=True)
for line in sys.stdin:
    print(line.rstrip("\\n"), flush=True)
"""


class Owner:
    """Remembers what its child wants."""

    greeting = b"hello\n"

    def __init__(self) -> None:
        self.limits: list[str] = []
        self.given_back: list[Call] = []
        self.failed_starts = 0

    def dispatch(self) -> None:
        pass

    def note_limit(self, module: str, child: Child) -> None:
        self.limits.append(module)

    def put_back(self, calls: Iterable[Call]) -> None:
        self.given_back += calls

    def note_failed_start(self) -> None:
        self.failed_starts += 1


def make_call(line: bytes) -> Call:
    return Call("m", lambda: line, asyncio.get_running_loop().create_future())


def start(owner: Owner, program: str) -> Child:
    child = Child(owner, [sys.executable, "-I", "-S", "-c", program])
    child.start()
    return child


async def test_answers_come_in_order_and_of_three_kinds() -> None:
    owner = Owner()
    child = start(owner, ECHO)
    await wait_until_async(lambda: child.has_room)
    calls = [make_call(b'v{"value":1}\n'), make_call(b"lmemory\n")]
    for call in calls:
        child.send(call)
    assert not child.has_room
    assert await calls[0].future == {"value": 1}
    with pytest.raises(ResourceLimitExceeded, match="memory"):
        await calls[1].future
    assert owner.limits == ["m"]
    wrong = make_call(b"eSyntaxError\n")
    child.send(wrong)
    assert (await wrong.future)["failure"] == "SyntaxError"
    await child.end()


async def test_long_answers_come_in_pieces() -> None:
    child = start(Owner(), ECHO)
    await wait_until_async(lambda: child.has_room)
    text = "x" * 3_000_000
    call = make_call(f'v{{"value":"{text}"}}\n'.encode())
    child.send(call)
    assert await call.future == {"value": text}
    await child.end()


async def test_what_nests_too_deeply_to_be_read_is_a_failure() -> None:
    child = start(Owner(), ECHO)
    await wait_until_async(lambda: child.has_room)
    call = make_call(b"v" + b"[" * 5000 + b"]" * 5000 + b"\n")
    child.send(call)
    assert "cannot be read" in (await call.future)["failure"]
    await child.end()


async def test_the_head_pays_for_a_death_and_what_is_behind_it_is_given_back() -> None:
    owner = Owner()
    child = start(owner, ECHO.replace("print(line", "sys.exit(3); print(line"))
    await wait_until_async(lambda: child.has_room)
    first, behind = make_call(b"a\n"), make_call(b"b\n")
    child.send(first)
    child.send(behind)
    assert (await first.future)["failure"] == "its process ended with 3"
    assert owner.given_back == [behind]
    assert owner.failed_starts == 0
    await wait_until_async(lambda: child.has_room)
    await child.end()


async def test_a_call_of_which_nothing_is_heard_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    child = start(Owner(), ECHO.replace("print(line", "import time; time.sleep(1000); print(line"))
    await wait_until_async(lambda: child.has_room)
    child.end_if_stuck()
    call = make_call(b"a\n")
    child.send(call)
    child.end_if_stuck()
    assert not call.future.done()
    monkeypatch.setattr("fanout.resolvers.child._LONGEST_CALL_SECONDS", -1.0)
    child.end_if_stuck()
    with pytest.raises(ResourceLimitExceeded, match="time"):
        await call.future
    monkeypatch.undo()
    await wait_until_async(lambda: child.has_room)
    await child.end()


async def test_what_does_not_start_is_tried_again_later(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner()
    child = start(owner, "import sys; sys.exit(7)")
    await wait_until_async(lambda: owner.failed_starts >= 2)
    await child.end()
    assert "a process for resolvers does not start: it ended with 7; the next try is in 0.1 s" in caplog.text


async def test_a_command_that_is_not_there_is_told(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner()
    child = Child(owner, ["/nowhere/python"])
    child.start()
    await wait_until_async(lambda: owner.failed_starts)
    await child.end()
    assert "/nowhere/python" in caplog.text


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("socket.socketpair", OSError("Too many open files")),
        ("asyncio.to_thread", RuntimeError("can't start new thread")),
    ],
)
async def test_what_the_machine_has_none_left_of_is_tried_for_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    owner = Owner()
    with monkeypatch.context() as patched:
        patched.setattr(name, fail)
        child = start(owner, ECHO)
        await wait_until_async(lambda: owner.failed_starts)
    assert str(error) in caplog.text
    await wait_until_async(lambda: child.has_room)
    await child.end()


async def test_it_ends_while_it_starts() -> None:
    for _ in range(3):
        child = start(Owner(), ECHO)
        await asyncio.sleep(0)
        await child.end()
        assert child.pid is None
