from __future__ import annotations

import asyncio

import httpx
import pytest

from fanout.trust import build_client
from tests.issuer import serve_issuer


async def test_it_asks_and_is_closed() -> None:
    with serve_issuer() as issuer:
        client = build_client()
        urls = [issuer.url + "/.well-known/jwks.json"] * 2
        answers = await asyncio.gather(*(client.get(url, timeout=20) for url in urls))
        assert [answer.json()["keys"][0]["kid"] for answer in answers] == ["k1", "k1"]
        async with client.stream("GET", issuer.url + "/nothing") as answer:
            assert answer.status_code == 404
        await client.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await client.get(issuer.url)


async def test_it_is_made_of_little_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("certificates are read although nobody is asked")

    monkeypatch.setattr("ssl.create_default_context", refuse)
    await build_client().aclose()
    with pytest.raises(AssertionError, match="certificates"):
        httpx.AsyncClient()  # so that what is refused is what it takes


async def test_timeouts_hold() -> None:
    with serve_issuer() as issuer:
        issuer.may_answer.clear()
        async with build_client() as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(issuer.url, timeout=0.05)
