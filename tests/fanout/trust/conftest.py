"""An issuer and an authorizer over HTTP, and key sets with a clock that the test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from fanout.trust import KeySets
from tests.fanout.trust.authority import Authority, run_authority
from tests.issuer import Issuer, serve_issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serve_issuer() as served:
        yield served


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with run_authority() as running:
        yield running


@pytest.fixture
async def key_sets(http: httpx.AsyncClient, clock: Clock) -> AsyncIterator[KeySets]:
    opened = KeySets(http, clock)
    yield opened
    await opened.close()
