"""HTTP answers: JSON, and the one table from error to status. Knows HTTP, but no path and no other room.

Errors have AppSync's shape, `{"errors":[{"errorType","message",...}]}`, and its header `x-amzn-ErrorType`. The status
says what AppSync's `errorCode` would, so that is not repeated in the body.

    Unauthorized                          401
    TooManyRequests                       429 with Retry-After
    ClientFault with an error code 4xx    that code (400 malformed, 413 too large, 422 a bad item, ...)
    any other ClientFault                 400
    Unavailable                           503 with Retry-After
    anything else                         500, whose text says nothing of the cause
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fanout.errors import ClientFault, LimitExceeded, Unavailable

RETRY_AFTER_SECONDS = 1
UNAVAILABLE_TYPE = "ServiceUnavailableException"

_TYPES_BY_STATUS = {404: "NotFoundException", 405: "MethodNotAllowedException"}


class TooManyRequests(LimitExceeded):
    """The rate of requests is exceeded; `retry_after_seconds` is when there is room again, at the earliest."""

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message, error_code=429)
        self.retry_after_seconds = retry_after_seconds


def answer_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with `value` as JSON."""
    return Response(orjson.dumps(value), status, headers, "application/json")


def answer_errors(
    status: int, errors: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None, **fields: Any
) -> Response:
    """Answer with AppSync's error shape.

    Args:
        errors: at least one, each with `errorType` and `message`.
        fields: what stands beside `errors` in the body.
    """
    named = {**(headers or {}), "x-amzn-ErrorType": str(errors[0]["errorType"])}
    return answer_json({**fields, "errors": errors}, status, named)


def answer_fault(fault: ClientFault) -> Response:
    """Tell clients what they did wrong."""
    code = fault.error_code
    status = code if code is not None and 400 <= code < 500 else 400
    errors = [{name: value for name, value in error.items() if name != "errorCode"} for error in fault.errors]
    headers = {"Retry-After": str(fault.retry_after_seconds)} if isinstance(fault, TooManyRequests) else None
    return answer_errors(status, errors, headers)


def answer_unavailable(message: str, **fields: Any) -> Response:
    """Tell that the same request may succeed later."""
    error = {"errorType": UNAVAILABLE_TYPE, "message": message}
    return answer_errors(503, [error], {"Retry-After": str(RETRY_AFTER_SECONDS)}, **fields)


def add_error_answers(app: FastAPI) -> None:
    """Make every error that leaves a handler of `app` a JSON answer without a traceback."""
    app.add_exception_handler(ClientFault, _on_client_fault)
    app.add_exception_handler(Unavailable, _on_unavailable)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_defect)


async def _on_client_fault(_: Request, error: Exception) -> Response:
    assert isinstance(error, ClientFault)
    return answer_fault(error)


async def _on_unavailable(_: Request, error: Exception) -> Response:  # noqa: ARG001 - its text may name the upstream
    return answer_unavailable("the event bus cannot be reached now, send the request again later")


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    if status == 404:
        message = "nothing is served at this path; GraphQL is at /graphql, publishing at /events, operators call /admin"
    elif status == 405:
        message = f"{request.method} is not served at this path"
    else:
        message = str(error.detail)
    error_type = _TYPES_BY_STATUS.get(status, "BadRequestException")
    return answer_errors(status, [{"errorType": error_type, "message": message}], error.headers)


async def _on_disconnect(_: Request, error: Exception) -> Response:  # noqa: ARG001 - starlette passes it
    """The client went away while it was sending: nobody reads this, and it is no defect of ours."""
    return Response(status_code=400)


async def _on_defect(_: Request, error: Exception) -> Response:  # noqa: ARG001 - for the log only
    """Our own defect; the server raises it again after this answer, so that it is logged with its traceback."""
    message = "internal error; the log of the service has the cause"
    return answer_errors(500, [{"errorType": "InternalFailureException", "message": message}])
