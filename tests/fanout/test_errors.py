"""Errors carry fields, and their text is derived."""

import pytest

from fanout.errors import (
    BadRequest,
    ClientFault,
    ConfigurationError,
    DuplicatedOperation,
    FanoutError,
    LimitExceeded,
    SchemaError,
    Unauthorized,
    Unavailable,
)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (BadRequest("no"), {"errorType": "BadRequestException", "message": "no", "errorCode": 400}),
        (
            Unauthorized(),
            {
                "errorType": "UnauthorizedException",
                "message": "You are not authorized to make this call.",
                "errorCode": 401,
            },
        ),
        (LimitExceeded("too many"), {"errorType": "LimitExceededError", "message": "too many"}),
        (DuplicatedOperation("twice"), {"errorType": "DuplicatedOperationError", "message": "twice"}),
        (BadRequest("x", error_type="T", error_code=7), {"errorType": "T", "message": "x", "errorCode": 7}),
    ],
)
def test_a_fault_reads_as_appsync_writes_it(fault: ClientFault, expected: dict[str, object]) -> None:
    assert fault.errors == [expected]


def test_several_errors_keep_what_is_known_of_each() -> None:
    fault = BadRequest("first", errors=[{"message": "a", "locations": []}, {"message": "b", "errorType": "Own"}])
    assert fault.errors == [
        {"errorType": "BadRequestException", "message": "a", "locations": [], "errorCode": 400},
        {"errorType": "Own", "message": "b", "errorCode": 400},
    ]


def test_a_schema_error_names_its_place() -> None:
    assert str(SchemaError("bad", source="chat.graphql", line=3, column=7)) == "chat.graphql:3:7: bad"
    assert str(SchemaError("bad", source="chat.graphql")) == "chat.graphql: bad"


def test_there_is_one_tree() -> None:
    assert all(issubclass(kind, FanoutError) for kind in (ClientFault, Unavailable, ConfigurationError))
    assert issubclass(SchemaError, ConfigurationError)
