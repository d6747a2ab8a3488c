from __future__ import annotations

import httpx

from fanout.settings import Settings
from fanout.trust import build_providers


async def test_nothing_is_configured_by_default() -> None:
    async with httpx.AsyncClient() as http:
        assert build_providers(Settings(), http, lambda: 0.0) == []
