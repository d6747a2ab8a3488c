"""Random faults for a short time; `make soak` does the same for long."""

from __future__ import annotations

import pytest

from tests.faults.chaos import break_at_random


async def test_a_few_rounds_of_random_faults() -> None:
    async with break_at_random(seed=1, gateways=2, subscribers_per_want=1) as chaos:
        for _ in range(3):
            await chaos.play_round()


@pytest.mark.faults
@pytest.mark.parametrize("seed", [2, 3])
async def test_more_rounds_of_random_faults(seed: int) -> None:
    async with break_at_random(seed) as chaos:
        for _ in range(6):
            await chaos.play_round()
