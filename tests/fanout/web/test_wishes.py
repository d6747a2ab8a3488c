"""Headers and invalidations that resolvers wish for; `test_graphql_http` has them over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fanout.errors import BadRequest, Unavailable
from fanout.execution import ExecutionResult
from fanout.schema import Invalidate
from fanout.web.wishes import Wishes


async def ignore(field: str, payload: Mapping[str, Any]) -> None:
    del field, payload


@pytest.mark.parametrize(
    ("wished", "chosen"),
    [
        ({"X-A": "b c", "y": ""}, {"x-a": "b c", "y": ""}),
        ({"a": "b\r\nc: d"}, {}),
        ({"a\r\nb": "c"}, {}),
        ({"": "c"}, {}),
        ({"a:": "c"}, {}),
        ({"a": "\u00e9"}, {}),
        ({"Content-Type": "text/html", "Transfer-Encoding": "chunked"}, {}),
    ],
)
def test_headers_cannot_change_what_the_answer_is(wished: dict[str, str], chosen: dict[str, str]) -> None:
    assert Wishes(ignore).choose_headers(wished) == chosen


def test_headers_of_all_fields_have_four_kilobytes_together(caplog: pytest.LogCaptureFixture) -> None:
    chosen = Wishes(ignore).choose_headers({"x-a": "a" * 4000, "x-b": "b" * 200, "x-c": "c"})
    assert set(chosen) == {"x-a", "x-c"}
    assert "x-b" in caplog.text


async def test_invalidations_are_ordered_in_order_and_each_failure_is_told(caplog: pytest.LogCaptureFixture) -> None:
    ordered: list[tuple[str, Mapping[str, Any]]] = []

    async def invalidate(field: str, payload: Mapping[str, Any]) -> None:
        if field == "onBad":
            raise BadRequest("no invalidation filter is configured")
        if field == "onAway":
            raise Unavailable("redis://user:secret@host")
        ordered.append((field, payload))

    wishes = tuple(Invalidate(field, {"n": n}) for n, field in enumerate(("onA", "onBad", "onAway", "onB")))
    failed = {"message": "before"}
    response = await Wishes(invalidate).carry_out(ExecutionResult({"data": 1, "errors": [failed]}, (), wishes))
    assert ordered == [("onA", {"n": 0}), ("onB", {"n": 3})]
    told = {"path": None, "data": None, "errorInfo": None, "locations": None}
    assert response == {
        "data": 1,
        "errors": [
            failed,
            {**told, "errorType": "BadRequest", "message": "Subscriptions on onBad cannot be invalidated."},
            {
                **told,
                "errorType": "ServiceUnavailableException",
                "message": "Subscriptions on onAway could not be invalidated now.",
            },
        ],
    }
    assert "no invalidation filter is configured" in caplog.text


async def test_the_log_cannot_be_filled(caplog: pytest.LogCaptureFixture) -> None:
    async def invalidate(field: str, payload: Mapping[str, Any]) -> None:
        raise BadRequest("no")

    wishes = Wishes(invalidate)
    result = ExecutionResult({"data": None}, (), (Invalidate("onX", {}),))
    for _ in range(50):
        await wishes.carry_out(result)
    assert len(caplog.records) == 10
