"""A real server for the model tests; nothing in this room imitates Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fanout.bus.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    server = EmbeddedServer()
    server.start()
    yield server.url
    server.stop()
