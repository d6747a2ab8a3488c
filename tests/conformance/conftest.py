"""Fixtures: the npm packages, a served Fanout, and clients of it. Nothing is skipped: what is missing fails."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.node import NodeClient
from tests.conformance.restarting import RestartingService
from tests.served import API_KEY

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def node_packages() -> None:
    """Install what package-lock.json names, unless it has been already."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("these tests need Node 20 or later and npm")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    if int(re.match(r"v(\d+)", version)[1]) < 20:
        pytest.fail(f"these tests need Node 20 or later, this is {version.strip()}")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        outcome = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=FOLDER, capture_output=True, text=True
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.fixture(scope="module", params=[False], ids=["plain"])
def served(request: pytest.FixtureRequest) -> Iterator[RestartingService]:
    """The service, with TLS if the parameter says so; shared by the tests of a module that want it alike."""
    service = RestartingService(tls=request.param)
    yield service
    service.stop()


@pytest.fixture
def connect(node_packages: None, served: RestartingService) -> Iterator[Callable[..., NodeClient]]:
    """Call it with the name of a script to start that client."""
    clients = []

    def start(script: str, api_key: str = API_KEY) -> NodeClient:
        clients.append(NodeClient(script, f"{served.url}/graphql", api_key, served.ca))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()
