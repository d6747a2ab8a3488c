from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fanout.auth_settings import IamUser, LambdaSettings


@pytest.mark.parametrize("given", [{}, {"url": "http://127.0.0.1:1", "function": "a:b"}])
def test_an_authorizer_function_is_in_one_place(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either url or function"):
        LambdaSettings(**given)


def test_secrets_are_not_shown() -> None:
    user = IamUser(access_key_id="AKIA", secret_access_key="hush", session_token="quiet")
    assert "hush" not in repr(user)
    assert "quiet" not in repr(user)
    assert user.secret_access_key.get_secret_value() == "hush"
