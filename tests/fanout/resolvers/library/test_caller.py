"""util.authType, for each mode."""

from __future__ import annotations

import pytest

from fanout.model import AuthMode
from tests.fanout.resolvers.running import Expressions

RUN = Expressions()


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (AuthMode.API_KEY, "API Key Authorization"),
        (AuthMode.COGNITO, "User Pool Authorization"),
        (AuthMode.OIDC, "Open ID Connect Authorization"),
        (AuthMode.IAM, "IAM Authorization"),
        (AuthMode.LAMBDA, "Lambda Authorization"),
    ],
)
def test_how_the_caller_was_let_in(mode: AuthMode, text: str) -> None:
    assert RUN.run("[util.authType(), ctx.__auth === undefined]", __auth=mode.value) == [text, True]
