"""What tests of the modules that order, reload and watch keys share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fanout.administered import Deployment, run_deployment


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with run_deployment(tmp_path) as deployment:
        yield deployment
