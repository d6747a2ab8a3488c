"""What a resolver says to be wrong, and how it ends early: both arrive in the envelope."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("'Bad'", {"message": "Bad", "type": None, "data": None, "info": None}),
        ("'Bad', 'Kind'", {"message": "Bad", "type": "Kind", "data": None, "info": None}),
        ("'Bad', 'Kind', { id: 1 }", {"message": "Bad", "type": "Kind", "data": {"id": 1}, "info": None}),
        ("'Bad', 'Kind', null, [1]", {"message": "Bad", "type": "Kind", "data": None, "info": [1]}),
        ("{ a: 1 }, ['b']", {"message": '{"a":1}', "type": '["b"]', "data": None, "info": None}),
        ("404, 500", {"message": "404", "type": "500", "data": None, "info": None}),
        ("", {"message": None, "type": None, "data": None, "info": None}),
    ],
)
def test_errors_said_and_added(arguments: str, error: dict[str, Any]) -> None:
    assert RUN.envelope(f"util.error({arguments})")["error"] == error
    added = RUN.envelope(f"(util.appendError({arguments}), 'value')")
    assert (added["value"], added["errors"]) == ("value", [error])


def test_what_is_added_stays_in_order_and_beside_an_error() -> None:
    envelope = RUN.envelope("(util.appendError('a'), util.appendError('b'), util.error('c'))")
    assert [error["message"] for error in envelope["errors"]] == ["a", "b"]
    assert envelope["error"]["message"] == "c"


def test_unauthorized_names_the_field() -> None:
    error = RUN.envelope("util.unauthorized()")["error"]
    assert error["message"] == "Not Authorized to access createMessage on type Mutation"
    assert error["type"] == "Unauthorized"


@pytest.mark.parametrize(
    ("arguments", "value", "early"),
    [
        ("{ a: 1 }", {"a": 1}, None),
        ("", None, None),
        ("1, { skipTo: 'NEXT' }", 1, "NEXT"),
        ("1, { skipTo: 'END' }", 1, "END"),
        ("1, { skipTo: 'THERE' }", 1, None),
    ],
)
def test_returning_early(arguments: str, value: Any, early: str | None) -> None:
    envelope = RUN.envelope(f"runtime.earlyReturn({arguments})")
    assert (envelope["value"], envelope["early"]) == (value, early)
