"""The two ways to ask an authorizer function: POST to a URL, or a Python function in a thread.

Bytes of JSON in, bytes of JSON out; what they mean is `fanout.auth.lambda_messages`. How long it may take is the
caller's to bound: to give up is to cancel. Texts of errors hold nothing that was sent or answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson

from fanout.auth.lambda_messages import MAX_ANSWER_BYTES
from fanout.errors import ConfigurationError, Unavailable

MAX_THREADS = 64
"""Calls of a Python function that have not come back."""

_HUNG_UP = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)


class AskFailed(Exception):
    """There is no answer; the text says why."""


class UrlFunction:
    """An authorizer that answers POST.

    No redirect is followed, no cookie is kept, and compressed answers are refused: their true size is not known
    before they have been inflated.

    Args:
        url: `http` or `https`; a user name and password in it are sent as basic authentication.
        http: used for all calls.

    Raises:
        ConfigurationError: no such URL.
    """

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL:
            raise _refuse_url("is not a URL") from None
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise _refuse_url("is not the URL of a web server")
        self._http = http
        self.name = str(self._url.copy_with(userinfo=b"", query=None, fragment=None))

    async def ask(self, body: bytes) -> bytes:
        """The answer. Raises AskFailed."""
        try:
            try:
                response = await self._send(body)
            except _HUNG_UP:
                # Most servers hang up on a connection after some seconds without a request, and may do so while we
                # write the next one. An authorizer that is really broken fails once more.
                response = await self._send(body)
        except httpx.ConnectError as error:
            raise AskFailed(f"no connection: {error}") from None
        except httpx.HTTPError as error:
            raise AskFailed(f"no answer: {type(error).__name__}") from None
        try:
            return await _read(response)
        except httpx.HTTPError as error:
            raise AskFailed(f"the answer broke off: {type(error).__name__}") from None
        finally:
            await response.aclose()

    async def _send(self, body: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        # Built without the client: so no cookie that an answer set goes along with somebody else's token. The
        # caller's time limit is for everything, down to an answer of single bytes.
        request = httpx.Request(
            "POST",
            self._url,
            headers=headers,
            content=body,
            extensions={"timeout": httpx.Timeout(None).as_dict()},
        )
        return await self._http.send(request, stream=True, follow_redirects=False)


async def _read(response: httpx.Response) -> bytes:
    if not response.is_success:
        hint = "; redirects are not followed, give the URL that answers" if response.has_redirect_location else ""
        raise AskFailed(f"status {response.status_code}{hint}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise AskFailed("the answer is compressed, and was asked for as it is")
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise AskFailed(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


class PythonFunction:
    """A function of this process, `def authorize(event)` or a Lambda handler's `(event, context)`; also `async`.

    Each call has a thread of its own, and an `async` one an event loop: what it does holds up nobody else. A thread
    cannot be ended from outside; while too many do not come back, further calls are told to come again.

    Args:
        path: `package.module:function`; modules are found from the working directory too.

    Raises:
        ConfigurationError: it cannot be imported, or takes other arguments.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._function = _load(path)
        self._running = 0

    async def ask(self, body: bytes) -> bytes:
        """The answer. Raises AskFailed, or Unavailable while too many earlier calls have not come back."""
        if self._running >= MAX_THREADS:
            raise Unavailable(f"the authorizer is asked too much at once: {MAX_THREADS} calls have not come back")
        self._running += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()

        def finish(outcome: bytes | AskFailed) -> None:
            self._running -= 1
            if future.done():
                return  # given up meanwhile
            if isinstance(outcome, AskFailed):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        def run() -> None:
            outcome = self._run(body)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, outcome)

        # A daemon: one that hangs must not keep the process from ending.
        threading.Thread(target=run, name="fanout-authorizer", daemon=True).start()
        return await future

    def _run(self, body: bytes) -> bytes | AskFailed:
        try:
            result = self._function(orjson.loads(body))
            if inspect.isawaitable(result):
                result = asyncio.run(_wait_for(result))
        except BaseException as error:  # noqa: BLE001 - `SystemExit` too: somebody waits for an outcome
            # Without its text, which may hold the token.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            return AskFailed(f"it raised {type(error).__name__} in {frame.filename}, line {frame.lineno}")
        try:
            return orjson.dumps(result)
        except TypeError:
            return AskFailed("what it returned cannot be written as JSON")


async def _wait_for(result: Any) -> Any:
    return await result


def _load(path: str) -> Callable[[Any], Any]:
    module_name, _, name = path.partition(":")
    if not module_name or not name.isidentifier():
        raise _refuse_function(path, "write package.module:function")
    if (directory := str(Path.cwd())) not in sys.path:
        sys.path.append(directory)  # last: nothing that is installed is hidden
    try:
        function = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # noqa: BLE001 - importing runs the operator's code, which may fail in any way
        raise _refuse_function(path, f"{type(error).__name__}: {error}") from None
    for arguments in (1, 2):
        try:
            inspect.signature(function).bind(*[None] * arguments)
        except (TypeError, ValueError):
            continue
        return function if arguments == 1 else lambda event: function(event, None)
    raise _refuse_function(path, "it has to be a function of one argument, or of two as a Lambda handler is")


def _refuse_url(problem: str) -> ConfigurationError:
    return ConfigurationError(f"lambda_authorizer.url: what is given {problem}, write https://host/path")


def _refuse_function(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"lambda_authorizer.function {path!r}: {' '.join(problem.split())}")
