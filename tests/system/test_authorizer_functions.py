"""A served process whose authorizer is slow, wrong, huge or down; and what a reload does to those it has let in."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.fanout.trust.authority import (
    Authority,
    answer,
    drip,
    hang_up,
    pour,
    respond,
    run_authority,
    say_nothing,
    talk_nonsense,
)
from tests.served import AppSyncClient, Served, encode_header, serve, wait_until_async

SUBSCRIPTION = "subscription { onCreateMessage { id } }"
NO = {
    "no": answer({"isAuthorized": False}),
    "empty": answer({}),
    "failed": respond(500, b'{"isAuthorized": true}'),
    "redirecting": respond(302, b"", {"location": "/"}),
    "slow": say_nothing,
    "dripping": drip,
    "huge": pour,
    "gone": hang_up,
    "nonsense": talk_nonsense,
}


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with run_authority() as authority:
        yield authority


class Configuration:
    """The file of a served process."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url

    def write(
        self, mode: str = "API_KEY", *, anonymous: bool = False, authorizer: bool = True, timeout_ms: int = 10_000
    ) -> None:
        lines = [f'auth_mode = "{mode}"', f"anonymous = {str(anonymous).lower()}"]
        if authorizer:
            lines += ["[lambda_authorizer]", f'url = "{self.url}"', f"timeout_ms = {timeout_ms}"]
        self.path.write_text("\n".join(lines))


@pytest.fixture
def configuration(tmp_path: Path, authority: Authority) -> Configuration:
    return Configuration(tmp_path / "fanout.toml", authority.url)


@asynccontextmanager
async def open_with(served: Served, header: dict[str, str]) -> AsyncIterator[AppSyncClient]:
    url = served.url.replace("http", "ws", 1) + "/graphql/realtime"
    offered: Any = ["graphql-ws", encode_header({"host": "localhost", **header})]
    async with connect(url, subprotocols=offered) as connection:
        yield AppSyncClient(connection)


async def request(served: Served, token: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.post(
            f"{served.url}/graphql",
            headers={"authorization": token},
            json={"query": "query Q($r: ID!) { listMessages(roomId: $r) { id } }", "variables": {"r": "a"}},
        )


async def test_whatever_is_no_yes_is_one_answer_at_each_entry(
    authority: Authority, configuration: Configuration
) -> None:
    configuration.write(timeout_ms=300)
    with serve("--config", str(configuration.path)) as served:
        for name, behaviour in NO.items():
            authority.behaviour = behaviour
            response = await request(served, f"secret-{name}")
            assert response.status_code == 401
            assert response.json()["errors"][0]["message"] == "You are not authorized to make this call."
            async with open_with(served, {"Authorization": f"secret-{name}"}) as client:
                await client.send({"type": "connection_init"})
                refused = await client.receive()
                assert refused["type"] == "connection_error"
                assert refused["payload"]["errors"][0]["errorCode"] == 401
        assert "nobody is let in by the authorizer" in "".join(served.log)
        assert "secret" not in "".join(served.log)


async def test_connections_starts_and_requests_are_asked_about_one_by_one(
    authority: Authority, configuration: Configuration
) -> None:
    configuration.write("AWS_LAMBDA")
    with serve("--config", str(configuration.path)) as served:
        await check_starts(served, authority)
        await check_requests(served, authority)
        await check_denied_fields(served, authority)


async def test_variables_that_cannot_be_told_are_answered_as_a_mistake(
    authority: Authority, configuration: Configuration
) -> None:
    configuration.write("AWS_LAMBDA")
    variables = '{"a": ' + "[" * 300 + "]" * 300 + "}"
    body = '{"query": "%s", "variables": %s}' % (SUBSCRIPTION, variables)
    authorization = {"authorization": {"Authorization": "secret-token", "host": "h"}}
    with serve("--config", str(configuration.path)) as served:
        async with httpx.AsyncClient(trust_env=False) as http:
            response = await http.post(f"{served.url}/graphql", headers={"authorization": "any"}, content=body)
        assert response.status_code == 400
        assert "nested too deeply" in response.json()["errors"][0]["message"]
        assert authority.asked == []
        async with open_with(served, {"Authorization": "secret-token"}) as client:
            await client.initialise()
            await client.send({"type": "start", "id": "1", "payload": {"data": body, "extensions": authorization}})
            told = await client.receive()
            assert (told["id"], told["type"]) == ("1", "error")
            assert "nested too deeply" in told["payload"]["errors"][0]["message"]
            assert len(authority.asked) == 1
        assert "Traceback" not in "".join(served.log)


async def check_starts(served: Served, authority: Authority) -> None:
    data = '{"query": "%s", "variables": {}}' % SUBSCRIPTION
    wish = {"data": data, "extensions": {"authorization": {"Authorization": "secret-token", "host": "h"}}}
    async with open_with(served, {"Authorization": "secret-token"}) as client:
        await client.initialise()
        assert authority.asked[-1]["requestContext"]["operationName"] == "DeepDish:Connect"
        assert "secret" not in str(authority.asked[-1]["requestHeaders"])
        for id, behaviour, type in (
            ("1", answer({"isAuthorized": True}), "start_ack"),
            ("2", answer({"isAuthorized": False}), "error"),
            ("3", hang_up, "error"),
            ("4", answer({"isAuthorized": True}), "start_ack"),
        ):
            authority.behaviour = behaviour
            await client.send({"type": "start", "id": id, "payload": wish})
            told = await client.receive()
            assert (told["id"], told["type"]) == (id, type)
            assert authority.asked[-1]["requestContext"]["queryString"] == SUBSCRIPTION
        served.publish("createMessage", {"id": "7", "roomId": "a"})
        assert {(await client.receive_data())[0] for _ in range(2)} == {"1", "4"}


async def check_requests(served: Served, authority: Authority) -> None:
    authority.behaviour = answer({"isAuthorized": True, "ttlOverride": 600})
    authority.asked.clear()
    assert (await request(served, "token")).json() == {"data": {"listMessages": None}}
    (asked,) = authority.asked
    context = asked["requestContext"]
    assert asked["authorizationToken"] == "token"
    assert context["queryString"] == "query Q($r: ID!) { listMessages(roomId: $r) { id } }"
    assert context["variables"] == {"r": "a"}
    assert asked["requestHeaders"]["x-forwarded-for"] == "127.0.0.1"
    assert "authorization" not in asked["requestHeaders"]
    authority.behaviour = respond(500)
    assert (await request(served, "token")).status_code == 200
    async with open_with(served, {"Authorization": "token"}) as client:
        await client.initialise()
    assert len(authority.asked) == 1


async def check_denied_fields(served: Served, authority: Authority) -> None:
    arn = "arn:aws:appsync:us-east-1:111122223333:apis/fanout/types/Message/fields/author"
    authority.behaviour = answer({"isAuthorized": True, "deniedFields": [arn, "Mutation.deleteMessage"]})
    async with open_with(served, {"Authorization": "narrow"}) as client:
        await client.initialise()
        headers = {"Authorization": "narrow", "host": "h"}
        for id, selected, type in (("open", "id content", "start_ack"), ("closed", "id author", "error")):
            data = '{"query": "subscription { onCreateMessage { %s } }"}' % selected
            await client.send(
                {"type": "start", "id": id, "payload": {"data": data, "extensions": {"authorization": headers}}}
            )
            told = await client.receive()
            assert (told["id"], told["type"]) == (id, type)
        (error,) = told["payload"]["errors"]
        assert error["errorType"] == "Unauthorized"
        assert error["message"] == "Not Authorized to access author on type Message"
    fields = "{ id author content }"
    query = f'mutation {{ createMessage(input: {{roomId: "a", author: "ann", content: "hi"}}) {fields} }}'
    async with httpx.AsyncClient(trust_env=False) as http:
        url, credentials = f"{served.url}/graphql", {"authorization": "narrow"}
        created = (await http.post(url, headers=credentials, json={"query": query})).json()
        query = 'mutation { deleteMessage(input: {id: "1", roomId: "a"}) { id } }'
        deleted = (await http.post(url, headers=credentials, json={"query": query})).json()
    assert created["data"]["createMessage"]["author"] is None
    assert created["data"]["createMessage"]["content"] == "hi"
    assert [error["path"] for error in created["errors"]] == [["createMessage", "author"]]
    assert deleted["data"] == {"deleteMessage": None}


async def test_who_was_let_in_goes_when_what_let_them_in_is_taken_out(configuration: Configuration) -> None:
    configuration.write(anonymous=True)
    with serve("--config", str(configuration.path)) as served:
        async with open_with(served, {"Authorization": "token"}) as known, open_with(served, {}) as unknown:
            await known.initialise()
            await unknown.initialise()
            configuration.write(anonymous=True, authorizer=False)
            await reload(served, 1)
            await asyncio.wait_for(known.connection.wait_closed(), 20)
            assert known.connection.close_code == 4401
            assert unknown.connection.close_code is None
            configuration.write(authorizer=False)
            await reload(served, 2)
            await asyncio.wait_for(unknown.connection.wait_closed(), 20)
            assert unknown.connection.close_code == 4401
        for header in ({"Authorization": "token"}, {}):
            async with open_with(served, header) as client:
                await client.send({"type": "connection_init"})
                assert (await client.receive())["type"] == "connection_error"


async def reload(served: Served, count: int) -> None:
    served.process.send_signal(signal.SIGHUP)
    await wait_until_async(lambda: sum("reloaded; changed: " in line for line in served.log) == count)
