"""Any bytes as the body of `POST /graphql` and `POST /events`: an answer with an HTTP status, and never our fault."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from fanout.api import Api
from fanout.auth import ApiKeys, Authorizer
from fanout.execution import Executor
from fanout.metrics import Metrics
from fanout.schema import load_chat_schema
from fanout.settings import Settings
from fanout.web import create_app
from tests.fanout.protocol.strategies import json_values
from tests.fanout.web.conftest import CLIENT_KEY, PUBLISHER_KEY, RememberingAdministration, RememberingBus
from tests.fuzz.effort import fuzzed
from tests.fuzz.strategies import chunks_of, damaged, event_data, event_mutations, operations
from tests.fuzz.witness import nothing_heard

Answer = tuple[int, bytes]


class Site:
    """The real application over a bus that only remembers, spoken to in ASGI: no HTTP library in between."""

    def __init__(self) -> None:
        schema = load_chat_schema()
        api = Api(schema, Settings())
        api.executor = Executor(schema, Settings(), now=lambda: "2026-01-01T00:00:00Z", new_id=lambda: "new")
        self.bus = RememberingBus()
        self.app: FastAPI = create_app(
            api=api,
            publish=self.bus.publish,
            find_position=self.bus.find_position,
            authorizer=Authorizer(ApiKeys([CLIENT_KEY]), ApiKeys([PUBLISHER_KEY])),
            administration=RememberingAdministration(),
            metrics=Metrics(),
            is_ready=lambda: True,
            settings=Settings(),
        )

    async def post(self, path: str, chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> Answer:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("192.0.2.1", 4711),
            "server": ("localhost", 80),
            "state": {},
        }
        incoming = iter(chunks)
        left = len(chunks)
        answer: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            nonlocal left
            left -= 1
            if left < -1:
                await asyncio.Event().wait()  # the client says nothing more
            return {"type": "http.request", "body": next(incoming, b""), "more_body": left > 0}

        async def send(message: dict[str, Any]) -> None:
            answer.append(message)

        await self.app(scope, receive, send)
        return answer[0]["status"], b"".join(part.get("body", b"") for part in answer[1:])


SITE = Site()

events = st.fixed_dictionaries(
    {"mutation": event_mutations | json_values, "data": event_data},
    optional={"id": st.text(max_size=5) | json_values, "at": st.integers(10**11, 10**14) | json_values},
)
event_bodies = (events | st.lists(events | json_values, max_size=4) | json_values).map(json.dumps)
graphql_bodies = (operations | json_values).map(json.dumps)
bodies = {
    "/graphql": st.one_of(
        graphql_bodies.map(str.encode), damaged(graphql_bodies).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    | st.binary(max_size=60),
    "/events": st.one_of(
        event_bodies.map(str.encode), damaged(event_bodies).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    | st.binary(max_size=60),
}
extra_headers = st.lists(
    st.tuples(
        st.sampled_from([b"content-length", b"content-type", b"content-encoding", b"x-api-key", b"origin", b"accept"]),
        st.sampled_from([b"0", b"-1", b"999999999999", b"\xb2", b"gzip", b"text/plain"]) | st.binary(max_size=9),
    ),
    max_size=2,
)


@pytest.mark.parametrize(("path", "key"), [("/graphql", CLIENT_KEY), ("/events", PUBLISHER_KEY)])
@fuzzed
@given(st.data())
def test_any_body_is_answered(path: str, key: str, data: st.DataObject) -> None:
    body = data.draw(bodies[path], label="body")
    headers = [(b"x-api-key", key.encode()), *data.draw(extra_headers, label="headers")]
    cuts = data.draw(st.lists(st.integers(0, 300), max_size=4), label="cuts")

    async def ask() -> None:
        before = len(SITE.bus.events)
        whole = await SITE.post(path, [body], headers)
        published = SITE.bus.events[before:]
        assert whole[0] in (200, 202) or 400 <= whole[0] < 500, whole
        answered = orjson.loads(whole[1])
        if whole[0] >= 400:
            assert published == []
            assert all(error["errorType"] and error["message"] for error in answered["errors"])
        for event in published:
            orjson.loads(event.data)  # what gateways will have to read
        pieces = chunks_of(body, cuts)
        assert (await SITE.post(path, pieces, headers))[0] == whole[0]
        assert SITE.bus.events[before + len(published) :] == published
        assert (await SITE.post(path, [body[index : index + 1] for index in range(len(body))], headers))[0] == whole[0]
        SITE.bus.calls.clear()

    with nothing_heard() as witness, asyncio.Runner() as runner:
        witness.hear_loop(runner.get_loop())
        runner.run(ask())
