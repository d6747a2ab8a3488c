"""Authorizers that are right, wrong, huge, down and worse, over real HTTP; and Python functions that misbehave."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

import httpx
import orjson
import pytest

from fanout.errors import ConfigurationError, Unavailable
from fanout.trust import authorizer_functions
from fanout.trust.authorizer_functions import AskFailed, PythonFunction, UrlFunction
from tests.fanout.trust.authority import (
    Authority,
    Behaviour,
    answer,
    break_off,
    hang_up,
    pour,
    respond,
    run_authority,
    talk_nonsense,
)
from tests.served import wait_until_async

BODY = orjson.dumps({"authorizationToken": "tok"})


async def test_json_is_posted_and_answered(authority: Authority, http: httpx.AsyncClient) -> None:
    authority.behaviour = answer({"isAuthorized": True})
    assert await UrlFunction(authority.url + "?stage=a", http).ask(BODY) == b'{"isAuthorized":true}'
    assert authority.asked == [{"authorizationToken": "tok"}]
    (headers,) = authority.headers
    assert headers["request"] == "POST /authorize?stage=a HTTP/1.1"
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (respond(500, b"tok"), "status 500"),
        (respond(404), "status 404"),
        (respond(302, b"", {"location": "/tok"}), "status 302; redirects are not followed"),
        (respond(307, b"", {"location": "http://127.0.0.1:1/tok"}), "status 307; redirects are not followed"),
        (respond(200, b"x", {"content-encoding": "gzip"}), "compressed"),
        (respond(200, b" " * 5 * 1024 * 1024 + b" "), "longer than 5242880 bytes"),
        (pour, "longer than 5242880 bytes"),
        (break_off, "broke off"),
        (hang_up, "no answer"),
        (talk_nonsense, "no answer"),
    ],
)
async def test_what_is_no_answer_is_named(
    authority: Authority, http: httpx.AsyncClient, behaviour: Behaviour, text: str
) -> None:
    authority.behaviour = behaviour
    with pytest.raises(AskFailed) as caught:
        await UrlFunction(authority.url, http).ask(BODY)
    assert text in str(caught.value)
    assert "tok" not in str(caught.value)
    assert len(authority.asked) == (2 if "no answer" in text else 1)


async def test_one_that_hangs_up_once_is_asked_again(authority: Authority, http: httpx.AsyncClient) -> None:
    async def behave(writer: asyncio.StreamWriter) -> None:
        authority.behaviour = answer({"isAuthorized": True})
        await hang_up(writer)

    authority.behaviour = behave
    assert await UrlFunction(authority.url, http).ask(BODY) == b'{"isAuthorized":true}'
    assert len(authority.asked) == 2


async def test_an_answer_that_is_not_read_to_its_end_is_hung_up_on(
    authority: Authority, http: httpx.AsyncClient
) -> None:
    authority.behaviour = pour
    with pytest.raises(AskFailed):
        await UrlFunction(authority.url, http).ask(BODY)
    await wait_until_async(lambda: authority.hung_up)


async def test_one_that_is_down_is_named(authority: Authority, http: httpx.AsyncClient) -> None:
    async with run_authority() as gone:
        pass
    with pytest.raises(AskFailed, match="no connection"):
        await UrlFunction(gone.url, http).ask(BODY)


async def test_cookies_of_one_answer_are_not_sent_with_the_next(authority: Authority, http: httpx.AsyncClient) -> None:
    authority.behaviour = respond(200, b"{}", {"set-cookie": "session=first; Path=/"})
    function = UrlFunction(authority.url, http)
    for _ in range(2):
        await function.ask(BODY)
    assert "cookie" not in authority.headers[1]


async def test_who_gives_up_hangs_up(authority: Authority, http: httpx.AsyncClient) -> None:
    started = asyncio.Event()

    async def behave(_: asyncio.StreamWriter) -> None:
        started.set()
        await asyncio.Event().wait()

    authority.behaviour = behave
    task = asyncio.create_task(UrlFunction(authority.url, http).ask(BODY))
    await started.wait()
    task.cancel()
    await wait_until_async(lambda: authority.hung_up)


async def test_secrets_in_the_url_are_used_and_not_shown(authority: Authority, http: httpx.AsyncClient) -> None:
    url = authority.url.replace("127", "me:hush@127") + "?key=quiet#part"
    function = UrlFunction(url, http)
    await function.ask(BODY)
    assert authority.headers[0]["authorization"].startswith("basic ")
    assert function.name == authority.url


@pytest.mark.parametrize("url", ["", "authorizer", "ftp://h/hush", "http://", "//h/hush", "http://h:hush"])
async def test_what_is_no_url_is_refused(http: httpx.AsyncClient, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"lambda_authorizer\.url: .* write https://host/path") as caught:
        UrlFunction(url, http)
    assert "hush" not in str(caught.value)


MODULE = """
import asyncio, sys, threading

may_end = threading.Event()
began = threading.Semaphore(0)

def plain(event):
    return {"isAuthorized": True, "resolverContext": {"token": event["authorizationToken"]}}

async def later(event):
    await asyncio.sleep(0)
    return plain(event)

def handler(event, context):
    return plain(event) | {"context": context}

class Callable_:
    def __call__(self, event):
        return plain(event)

instance = Callable_()

def fails(event):
    raise ValueError(event["authorizationToken"])

async def fails_later(event):
    raise ValueError(event["authorizationToken"])

def exits(event):
    sys.exit(event["authorizationToken"])

def no_json(event):
    return {"isAuthorized": {1, 2}}

def hangs(event):
    began.release()
    may_end.wait()

def no_arguments():
    pass

def three(a, b, c):
    pass

number = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "authorizer_under_test.py").write_text(MODULE)
    (tmp_path / "broken_authorizer.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "authorizer_under_test", raising=False)
    return "authorizer_under_test"


@pytest.mark.parametrize("name", ["plain", "later", "instance"])
async def test_functions_are_called_with_the_event(module: str, name: str) -> None:
    answered = await PythonFunction(f"{module}:{name}").ask(BODY)
    assert orjson.loads(answered) == {"isAuthorized": True, "resolverContext": {"token": "tok"}}


async def test_a_lambda_handler_is_called_as_one(module: str) -> None:
    assert orjson.loads(await PythonFunction(f"{module}:handler").ask(BODY))["context"] is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("fails", "it raised ValueError in"),
        ("fails_later", "it raised ValueError in"),
        ("exits", "it raised SystemExit in"),
        ("no_json", "cannot be written as JSON"),
    ],
)
async def test_functions_that_fail_are_named_without_the_token(module: str, name: str, text: str) -> None:
    with pytest.raises(AskFailed) as caught:
        await PythonFunction(f"{module}:{name}").ask(BODY)
    assert text in str(caught.value)
    assert "tok" not in str(caught.value).replace(str(Path.cwd()), "")


async def test_functions_that_hang_are_left_alone_up_to_a_number(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizer_functions, "MAX_THREADS", 2)
    function = PythonFunction(f"{module}:hangs")
    hanging = sys.modules[module]
    try:
        for _ in range(2):
            task = asyncio.create_task(function.ask(BODY))
            assert await asyncio.to_thread(hanging.began.acquire)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        # As for a queue that is full: clients come again, which they do not after Unauthorized.
        with pytest.raises(Unavailable, match="2 calls have not come back"):
            await function.ask(BODY)
    finally:
        hanging.may_end.set()
    threads = [thread for thread in threading.enumerate() if thread.name == "fanout-authorizer"]
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert await function.ask(BODY) == b"null"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("authorizer_under_test", "write package.module:function"),
        ("authorizer_under_test:", "write package.module:function"),
        (":plain", "write package.module:function"),
        ("no_such_module_here:plain", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("authorizer_under_test:missing", "AttributeError"),
        ("broken_authorizer:plain", "ZeroDivisionError"),
        ("authorizer_under_test:number", "function of one argument, or of two"),
        ("authorizer_under_test:no_arguments", "function of one argument, or of two"),
        ("authorizer_under_test:three", "function of one argument, or of two"),
    ],
)
async def test_what_cannot_be_called_is_refused(module: str, path: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PythonFunction(path)
    assert str(caught.value).startswith(f"lambda_authorizer.function {path!r}: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
