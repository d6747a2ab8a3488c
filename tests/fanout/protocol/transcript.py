"""Golden transcripts: conversations as text, replayed against a `Session` and compared byte for byte.

A line beginning with `@` belongs to the upgrade request (path and query first, then headers), `>` is a message from
the client, `!` an answer or notice of the gateway. What the session makes of each follows it: `<` is a message to the
client, `=` any other effect. `#` is a comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from fanout.errors import BadRequest, ClientFault, Unauthorized
from fanout.protocol import Agreement, Authorize, Close, Effect, Send, Session, Subscribe, Unsubscribe, negotiate
from fanout.settings import Settings

FOLDER = Path(__file__).parent / "transcripts"
SETTINGS = Settings(max_subscriptions_per_connection=3)


def read_lines(path: Path) -> list[str]:
    """The lines that count."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def replay(lines: Iterable[str]) -> Iterator[str]:
    """The transcript as the code has it: the given requests, messages and answers, and what came of them."""
    script = [line for line in lines if line[0] in "@>!"]
    upgrade = [line for line in script if line[0] == "@"]
    yield from upgrade
    session = _upgrade([line.removeprefix("@ ") for line in upgrade])
    for line in script[len(upgrade) :]:
        yield line
        yield from (_show(effect) for effect in _perform(session, line[0], line[2:]))


def _upgrade(lines: list[str]) -> Session:
    path, _, query_string = lines[0].partition("?")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]
    agreement = negotiate(path, query_string, headers)
    assert isinstance(agreement, Agreement)
    return Session(agreement, SETTINGS)


def _perform(session: Session, kind: str, text: str) -> list[Effect]:
    if kind == ">":
        return session.receive(text)
    match text.split(" ", 2):
        case ["authorized"]:
            return session.authorized()
        case ["refused"]:
            return session.refused(Unauthorized())
        case ["init-timeout"]:
            return session.init_timed_out()
        case ["keep-alive"]:
            message = session.keep_alive_message()
            return [] if message is None else [Send(message)]
        case ["subscribed", use]:
            return session.subscribed(*_read_use(use))
        case ["rejected", use, message]:
            return session.rejected(*_read_use(use), _fault(message))
        case ["ended", id, message]:
            return session.ended(id, _fault(message))
    raise AssertionError(f"not a line of a transcript: {text}")


def _read_use(use: str) -> tuple[str, int]:
    id, _, token = use.rpartition("#")
    return id, int(token)


def _fault(message: str) -> ClientFault:
    return Unauthorized() if message == "unauthorized" else BadRequest(message)


def _show(effect: Effect) -> str:
    match effect:
        case Send(message):
            return f"< {message.decode()}"
        case Authorize(headers):
            return f"= authorize {_show_headers(headers)}"
        case Subscribe(id, id_bytes, request, token):
            assert id_bytes == orjson.dumps(id)
            operation = [request.query, request.operation_name, request.variables]
            return f"= subscribe {id}#{token} {orjson.dumps(operation).decode()} {_show_headers(request.headers)}"
        case Unsubscribe(id, token):
            return f"= unsubscribe {id}#{token}"
        case Close(reason, detail):
            return f"= close {reason.code} {detail or reason.text}"


def _show_headers(headers: object) -> str:
    return orjson.dumps(headers, option=orjson.OPT_SORT_KEYS).decode()
