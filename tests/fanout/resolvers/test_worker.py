"""The process that runs resolvers, by its lines."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from fanout.resolvers.sandbox import Limits
from fanout.resolvers.worker import READY, WARM, Worker, guard_seconds

BODIES = {
    "echo": "\nreturn { request: (ctx) => ctx.args.a };",
    "loop": "\nreturn { request: () => { while (true) {} } };",
    "native": "\nreturn { request: () => Array(4e9).join('') };",
    "wrong": "\nreturn {",
}


@contextmanager
def start_worker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "fanout.resolvers.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        greeting = {"limits": {"time_ms": 25, "memory_bytes": 1 << 24, "stack_bytes": 1 << 18}, "bodies": BODIES}
        process.stdin.write(orjson.dumps(greeting) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == READY
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[bytes], module: str) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(module.encode() + b'\trequest\t{"arguments": {"a": 7}}\n')
    process.stdin.flush()
    line = process.stdout.readline()
    # Said once, before whichever answer it falls.
    return process.stdout.readline() if line == WARM else line


def test_it_answers_in_order_and_goes_on_after_a_limit() -> None:
    with start_worker() as process:
        assert orjson.loads(ask(process, "echo")[1:])["value"] == 7
        assert ask(process, "loop") == b"ltime\n"
        assert ask(process, "wrong")[:1] == b"e"
        assert orjson.loads(ask(process, "echo")[1:])["value"] == 7


def test_a_defect_of_ours_is_one_calls_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(question: list[Any]) -> dict[str, Any]:
        raise RuntimeError(f"no\nanswer \ud800 {question[0]}")

    monkeypatch.setattr("fanout.resolvers.worker.answer", fail)
    asking = "\nreturn { request: () => __import('').util.time.nowFormatted('yyyy', 'Asia/Tokyo') };"
    worker = Worker({"asks": asking, **BODIES}, Limits())
    line = worker.answer(b'asks\trequest\t{"arguments": {}}\n')
    assert line.startswith(b"e")
    assert b"RuntimeError" in line
    assert line.count(b"\n") == 1
    assert worker.answer(b'echo\trequest\t{"arguments": {"a": 7}}\n')[:1] == b"v"


def test_what_cannot_be_interrupted_ends_the_process() -> None:
    with start_worker() as process:
        assert ask(process, "native") == b""
        assert process.wait(20) == -signal.SIGPROF


def test_it_ends_with_its_input_and_not_with_a_terminal() -> None:
    with start_worker() as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert orjson.loads(ask(process, "echo")[1:])["value"] == 7
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("time_ms", [1, 25, 1000])
def test_the_guard_is_clear_of_the_sandboxs_own_limit(time_ms: int) -> None:
    assert guard_seconds(Limits(time_ms=time_ms)) > time_ms / 1000 + 0.01


def test_processes_load_no_more_than_they_need() -> None:
    program = "import fanout.resolvers.checker, fanout.resolvers.worker, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"asyncio", "graphql", "httpx", "pydantic", "fanout.settings", "fanout.schema"} & set(loaded)
