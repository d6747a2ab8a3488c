"""AWS_LAMBDA over real HTTP: authorizers that answer, that answer badly, and that do not answer."""

from __future__ import annotations

from collections.abc import Awaitable

import httpx
import pytest

from fanout.auth_settings import LambdaSettings
from fanout.errors import Unauthorized
from fanout.model import Call, CallKind, Identity
from fanout.trust.lambda_authorizer import LambdaAuthorizer, build_lambda_authorizer
from tests.fanout.trust.authority import (
    Authority,
    Behaviour,
    answer,
    break_off,
    drip,
    hang_up,
    pour,
    respond,
    run_authority,
    say_nothing,
    talk_nonsense,
)


def show(authorizer: LambdaAuthorizer, token: str = "tok") -> Awaitable[Identity]:
    decision = authorizer.decide(Call(CallKind.CONNECT, {"authorization": token}))
    assert not isinstance(decision, Identity)
    return decision


async def test_a_url_is_asked(authority: Authority, http: httpx.AsyncClient) -> None:
    authority.behaviour = answer({"isAuthorized": True, "resolverContext": {"tenant": "red"}})
    identity = await show(build_lambda_authorizer(LambdaSettings(url=authority.url), http))
    assert identity.claims == {"resolverContext": {"tenant": "red"}}
    assert authority.asked[0]["authorizationToken"] == "tok"


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (answer({"isAuthorized": False}), ""),
        (answer({}), "no isAuthorized"),
        (answer({"isAuthorized": "tok"}), "isAuthorized is a string"),
        (answer({"isAuthorized": True, "resolverContext": {"tok": ["tok"]}}), "member 1 of resolverContext"),
        (respond(200, b"tok"), "not JSON"),
        (respond(200, b""), "not JSON"),
        (respond(204), "not JSON"),
        (respond(500, b'{"isAuthorized": true}'), "status 500"),
        (respond(301, b'{"isAuthorized": true}', {"location": "/tok"}), "status 301"),
        (pour, "longer than"),
        (break_off, "broke off"),
        (hang_up, "no answer"),
        (talk_nonsense, "no answer"),
        (say_nothing, "no answer within 50 ms"),
        (drip, "no answer within 50 ms"),
    ],
)
async def test_whatever_is_no_yes_lets_nobody_in_and_says_why(
    authority: Authority, http: httpx.AsyncClient, behaviour: Behaviour, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    authority.behaviour = behaviour
    # Those that never end are given up soon; the others have all the time they may need here.
    timeout_ms = 50 if "within" in text else 10_000
    authorizer = build_lambda_authorizer(LambdaSettings(url=authority.url, timeout_ms=timeout_ms), http)
    with pytest.raises(Unauthorized) as caught:
        await show(authorizer)
    assert caught.value.message == Unauthorized().message
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(text)
    for warning in warnings:
        assert warning.startswith(f"nobody is let in by the authorizer {authority.url}: ")
        assert text in warning
        assert "tok" not in warning


async def test_one_that_is_down_lets_nobody_in(http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    async with run_authority() as gone:
        pass
    with pytest.raises(Unauthorized):
        await show(build_lambda_authorizer(LambdaSettings(url=gone.url), http))
    assert "no connection" in caplog.text
