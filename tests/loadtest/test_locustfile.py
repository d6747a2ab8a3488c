"""Runs locust in a process of its own: importing it would patch this one's sockets and threads."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.loadtest.conftest import API_KEY, PUBLISHER_KEY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(service, tmp_path):
    """A client of locust's web page, with a service to load."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--host", service.url]
    command += ["--web-host", "127.0.0.1", "--web-port", str(port)]
    keys = {"LOADTEST_API_KEY": API_KEY, "LOADTEST_PUBLISHER_KEY": PUBLISHER_KEY}
    log = tmp_path / "locust.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=os.environ | keys, stdout=output, stderr=output) as locust,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                _wait_for(lambda: _answers(client), log)
                yield client
        finally:
            locust.terminate()
            locust.wait()
    assert "Traceback" not in log.read_text()


def test_the_web_page_runs_a_test_twice_and_masks_the_keys(page):
    assert page.get("/").text.count('"is_secret": true') == 2
    for _ in range(2):
        start = {"user_count": 6, "spawn_rate": 6, "stay": 0.3, "patience": 1, "rooms": 2}
        assert page.post("/swarm", data=start).json()["success"]
        _wait_for(lambda: _count(page, "deliver", "running") > 5 and _count(page, "unsubscribe", "running") > 0)
        assert page.post("/stop").json()["success"]
        _wait_for(lambda: _count(page, "deliver", "stopped") > 5)
        assert page.get("/stats/requests").json()["errors"] == []


def _count(page, name, state):
    """How many of these there were; none if the page, which keeps its figures for a second, is of another state."""
    report = page.get("/stats/requests").json()
    rows = report["stats"] if report["state"] == state else []
    return sum(row["num_requests"] for row in rows if row["name"] == name)


def _answers(client):
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def _wait_for(condition, log=None):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, log and log.read_text()
