"""What is made of what was waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fanout.errors import BadRequest, ClientFault, Unauthorized, Unavailable
from fanout.gateway.decisions import Planning, read_decision, read_plan, wait_for_plan
from fanout.model import AuthMode, Identity

ADA = Identity(AuthMode.API_KEY)


async def settle(outcome: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return future


async def test_a_decision_holds_as_long_as_the_identity_does() -> None:
    assert read_decision(await settle(ADA), lambda _: True) is ADA
    assert isinstance(read_decision(await settle(ADA), lambda _: False), Unauthorized)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadRequest("no"), 400),
        (Unavailable("not now"), 503),
        (ZeroDivisionError("secret"), 500),
    ],
)
async def test_errors_are_told_by_whose_fault_they_are(
    error: Exception, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    for fault in (
        read_decision(await settle(error), lambda _: True),
        read_plan(Planning(await settle(error), ADA), lambda _: True),
    ):
        assert isinstance(fault, ClientFault)
        assert fault.error_code == code
        assert "secret" not in fault.message
    assert ("ZeroDivisionError" in caplog.text) is (code == 500)


async def test_a_plan_is_made_when_it_is_asked_for() -> None:
    made: list[str] = []
    planning = Planning(await settle(lambda: made.append("made")), ADA)
    assert isinstance(read_plan(planning, lambda _: False), Unauthorized)
    assert made == []
    read_plan(planning, lambda _: True)
    assert made == ["made"]


async def test_a_plan_that_is_refused_at_last_is_a_fault() -> None:
    def refuse() -> Any:
        raise BadRequest("no such filter")

    assert isinstance(read_plan(Planning(await settle(refuse), ADA), lambda _: True), BadRequest)


async def test_what_takes_too_long_is_given_up() -> None:
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await wait_for_plan(lambda: never, 1)
    assert never.cancelled()


async def test_a_resolver_that_took_too_long_is_named_as_in_appsync() -> None:
    fault = read_plan(Planning(await settle(TimeoutError()), ADA), lambda _: True)
    assert isinstance(fault, ClientFault)
    assert (fault.error_type, fault.message, fault.error_code) == ("ExecutionTimeout", "Execution timed out.", 504)
