import os
import sys
import urllib.request
from pathlib import Path

import pytest
import redis

from loadtest.processes import ProcessError, find_service_command, run_program, run_redis, run_service


def test_a_service_is_ready_when_given_and_gone_afterwards():
    with run_service("k", "p") as service:
        assert urllib.request.urlopen(f"{service.url}/readyz").status == 200
        os.kill(service.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(service.pid, 0)


def test_keys_are_given_by_environment_and_cores_are_kept():
    core = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    with run_service("api", "publish", cores={core}) as service:
        environment = Path(f"/proc/{service.pid}/environ").read_bytes().split(b"\0")
        assert {b"FANOUT_API_KEY=api", b"FANOUT_PUBLISHER_KEY=publish"} <= set(environment)
        assert b"publish" not in Path(f"/proc/{service.pid}/cmdline").read_bytes()
        assert os.sched_getaffinity(service.pid) == {core}
    assert os.sched_getaffinity(0) == before


def test_a_service_that_ends_is_told_with_what_it_printed():
    command = [sys.executable, "-c", "print('port in use'); raise SystemExit(3)"]
    with pytest.raises(ProcessError, match=r"ended with 3:\nport in use"), run_service("k", "p", command=command):
        pass


def test_a_service_that_is_never_ready_is_given_up():
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with (
        pytest.raises(ProcessError, match="an endpoint in its output"),
        run_service("k", "p", command=command, timeout_s=0.1),
    ):
        pass


def test_a_redis_of_our_own_leaves_nothing():
    with run_redis() as url:
        path = url.removeprefix("unix://")
        with redis.Redis(unix_socket_path=path) as client:
            assert client.xadd("s", {"a": "b"})
    assert not Path(path).parent.exists()


def test_the_command_is_the_one_of_this_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ProcessError, match="make setup"):
        find_service_command()
    (tmp_path / "fanout").touch()
    assert find_service_command() == [str(tmp_path / "fanout"), "serve"]


def test_a_program_with_a_url_takes_commands():
    code = "print('on http://127.0.0.1:1/'); import sys; sys.stdout.flush(); sys.exit(sys.stdin.read() != 'go')"
    with run_program([sys.executable, "-c", code]) as (url, process):
        assert url == "http://127.0.0.1:1"
        process.stdin.write(b"go")
        process.stdin.close()
        assert process.wait() == 0


def test_further_settings_are_given_by_environment():
    with run_service("api", "publish", environment={"FANOUT_LOG_LEVEL": "error"}) as service:
        environment = Path(f"/proc/{service.pid}/environ").read_bytes().split(b"\0")
        assert {b"FANOUT_API_KEY=api", b"FANOUT_LOG_LEVEL=error"} <= set(environment)
