from __future__ import annotations

import httpx
import pytest

from fanout.auth_settings import LambdaSettings
from fanout.errors import ConfigurationError
from fanout.model import AuthMode
from fanout.settings import Settings
from fanout.trust import build_providers


async def test_nothing_is_configured_by_default() -> None:
    async with httpx.AsyncClient() as http:
        assert build_providers(Settings(), http, lambda: 0.0) == []


async def test_signatures_are_asked_first() -> None:
    settings = Settings.model_validate({"iam": {"users": [{"access_key_id": "A", "secret_access_key": "s"}]}})
    async with httpx.AsyncClient() as http:
        first, *_ = build_providers(settings, http, lambda: 0.0)
    assert first.mode is AuthMode.IAM


async def test_an_authorizer_function_is_a_provider() -> None:
    async with httpx.AsyncClient() as http:
        settings = Settings(lambda_authorizer=LambdaSettings(url="http://127.0.0.1:1/"))
        assert [provider.mode for provider in build_providers(settings, http, lambda: 0.0)] == [AuthMode.LAMBDA]
        with pytest.raises(ConfigurationError):
            build_providers(Settings(lambda_authorizer=LambdaSettings(url="nowhere")), http, lambda: 0.0)
