"""examples/chat as it stands, over two gateways on one Redis: its resolvers are what AppSync would run, unchanged."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.issuer import Issuer, serve_issuer, sign
from tests.served import API_KEY, Served, connect_appsync, run_command, serve, wait_until
from tests.structure.sources import ROOT
from tests.valkey import Valkey, run_valkey

CONFIG = "examples/chat/fanout.toml"
ON_CREATE = "subscription On($room: ID!) { onCreateMessage(roomId: $room) { id author content createdAt } }"
CREATE = """mutation Create($room: ID!, $content: String!) {
  createMessage(input: {roomId: $room, content: $content, author: "ann"}) { id roomId author content createdAt }
}"""
CLOSE = "mutation Close($room: ID!) { closeRoom(roomId: $room) { id title } }"


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with run_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def gateways(valkey: Valkey) -> Iterator[list[Served]]:
    arguments = ("--config", CONFIG, "--redis-url", valkey.url)
    with serve(*arguments, directory=ROOT) as one, serve(*arguments, directory=ROOT) as two:
        yield [one, two]


def ask(served: Served, query: str, headers: dict[str, str] | None = None, **variables: Any) -> dict[str, Any]:
    """The answer of `POST /graphql`."""
    answer = httpx.post(
        f"{served.url}/graphql",
        headers=headers or {"x-api-key": API_KEY},
        json={"query": query, "variables": variables},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_subscribers_get_only_what_the_filter_lets_through_on_both_gateways(
    valkey: Valkey, gateways: list[Served]
) -> None:
    one, two = gateways
    async with connect_appsync(one.url) as here, connect_appsync(two.url) as there:
        await here.subscribe("garden", ON_CREATE, {"room": "garden"})
        await there.subscribe("garden", ON_CREATE, {"room": "garden"})
        await there.subscribe("lobby", ON_CREATE, {"room": "lobby"})

        ask(two, CREATE, room="cellar", content="nobody hears this")
        # Published without any mutation: no resolver trims these, but the filter is asked all the same.
        valkey.add("createMessage", {"id": "empty", "roomId": "garden", "content": ""})
        valkey.add("createMessage", {"id": "blank", "roomId": "garden", "content": " "})
        created = ask(one, CREATE, room="garden", content="  hello ")["data"]["createMessage"]
        other = ask(one, CREATE, room="lobby", content="welcome")["data"]["createMessage"]
        assert (created["roomId"], created["author"], created["content"]) == ("garden", "ann", "hello")
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", created["id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", created["createdAt"])

        def deliver(message: dict[str, Any]) -> dict[str, Any]:
            return {"data": {"onCreateMessage": {key: value for key, value in message.items() if key != "roomId"}}}

        blank = deliver({"id": "blank", "author": None, "content": " ", "createdAt": None})
        assert [await here.receive_data() for _ in range(2)] == [("garden", blank), ("garden", deliver(created))]
        received = [await there.receive_data() for _ in range(3)]
        assert [payload for name, payload in received if name == "garden"] == [blank, deliver(created)]
        assert [payload for name, payload in received if name == "lobby"] == [deliver(other)]


async def test_a_message_that_is_not_valid_is_an_error_as_appsync_has_it_and_no_event(gateways: list[Served]) -> None:
    one, two = gateways
    async with connect_appsync(two.url) as there:
        await there.subscribe("s", ON_CREATE, {"room": "strict"})
        answer = ask(one, CREATE, room="strict", content="   ")
        assert answer["data"] == {"createMessage": None}
        assert answer["errors"] == [
            {
                "path": ["createMessage"],
                "data": None,
                "errorType": "ValidationError",
                "errorInfo": {"field": "content"},
                "locations": [{"line": 2, "column": 3, "sourceName": None}],
                "message": "A message has content.",
            }
        ]
        too_long = ask(one, CREATE, room="strict", content="x" * 2001)
        assert too_long["errors"][0]["message"] == "A message has at most 2000 characters."
        assert ask(one, CREATE, room="strict", content="fine")["data"]["createMessage"]["content"] == "fine"
        assert (await there.receive_data())[1]["data"]["onCreateMessage"]["content"] == "fine"


async def test_a_subscription_that_its_resolver_refuses_is_an_error_of_that_subscription(
    gateways: list[Served],
) -> None:
    async with connect_appsync(gateways[0].url) as client:
        answer = await client.start("s", ON_CREATE, {"room": " "})
        assert (answer["type"], answer["id"]) == ("error", "s")
        [error] = answer["payload"]["errors"]
        assert (error["errorType"], error["message"]) == ("ValidationError", "Which room? roomId is empty.")
        await client.subscribe("good", ON_CREATE, {"room": "garden"})


async def test_closing_a_room_ends_its_subscriptions_on_both_gateways_and_no_other(
    valkey: Valkey, gateways: list[Served]
) -> None:
    one, two = gateways
    async with (
        connect_appsync(one.url) as here,
        connect_appsync(two.url) as there,
        connect_appsync(two.url) as elsewhere,
    ):
        await here.subscribe("s", ON_CREATE, {"room": "doomed"})
        await there.subscribe("s", ON_CREATE, {"room": "doomed"})
        await elsewhere.subscribe("s", ON_CREATE, {"room": "safe"})
        assert ask(one, CLOSE, room="doomed") == {"data": {"closeRoom": {"id": "doomed", "title": "Room doomed"}}}
        for client in (here, there):
            error = (await client.receive())["payload"]["errors"][0]
            assert (error["errorType"], error["message"]) == ("SubscriptionInvalidated", "Subscription complete.")
            await client.connection.wait_closed()
            assert client.connection.close_code == 4621
        valkey.add("createMessage", {"id": "1", "roomId": "safe", "content": "still here"})
        assert (await elsewhere.receive_data())[1]["data"]["onCreateMessage"]["content"] == "still here"


async def test_pipelines_and_fields_of_types(gateways: list[Served]) -> None:
    one, two = gateways
    edit = """mutation Edit($content: String!) {
      editMessage(input: {id: "m1", roomId: "garden", content: $content}) { id roomId content editedAt room { title } }
    }"""
    async with connect_appsync(two.url) as there:
        query = 'subscription { onEditMessage(roomId: "garden") { id content room { title } } }'
        await there.subscribe("edits", query)
        await there.subscribe("names", 'subscription { onRenameRoom(id: "garden") { id title } }')
        edited = ask(one, edit, content=" better ")["data"]["editMessage"]
        assert edited.pop("editedAt").endswith("Z")
        assert edited == {"id": "m1", "roomId": "garden", "content": "better", "room": {"title": "Room garden"}}
        expected = {"id": "m1", "content": "better", "room": {"title": "Room garden"}}
        assert await there.receive_data() == ("edits", {"data": {"onEditMessage": expected}})

        refused = ask(one, edit, content=" ")
        assert refused["data"] == {"editMessage": None}
        assert refused["errors"][0]["message"] == "The text is empty."
        rename = 'mutation Rename($title: String!) { renameRoom(id: "garden", title: $title) { id title } }'
        long = ask(one, rename, title="x" * 81)
        assert long["errors"][0]["message"] == "The text has more than 80 characters."
        renamed = {"id": "garden", "title": "The garden"}
        assert ask(one, rename, title=" The garden ") == {"data": {"renameRoom": renamed}}
        assert await there.receive_data() == ("names", {"data": {"onRenameRoom": renamed}})
    assert ask(two, '{ getRoom(id: "g") { id title } }') == {"data": {"getRoom": {"id": "g", "title": "Room g"}}}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serve_issuer() as issuer:
        yield issuer


async def test_who_asks_is_stamped_and_only_moderators_close_rooms(issuer: Issuer, tmp_path: Path) -> None:
    config = tmp_path / "fanout.toml"
    pool = f'[[cognito]]\nuser_pool_id = "eu-west-1_A"\nissuer = "{issuer.url}"\n'
    mode = 'auth_mode = "AMAZON_COGNITO_USER_POOLS"\n'
    config.write_text(mode + (ROOT / CONFIG).read_text(encoding="utf-8") + pool, encoding="utf-8")

    def show(username: str, *groups: str) -> dict[str, str]:
        now = time.time()
        claims = {"iss": issuer.url, "sub": f"sub-{username}", "iat": int(now), "exp": now + 3600, "client_id": "app"}
        claims |= {"token_use": "access", "username": username, "cognito:groups": list(groups)}
        return {"Authorization": sign(claims)}

    with serve("--config", str(config), directory=ROOT) as served:
        created = ask(served, CREATE, show("ada"), room="r", content="c")["data"]["createMessage"]
        assert created["author"] == "ada"
        refused = ask(served, CLOSE, show("ada"), room="r")
        assert refused["data"] == {"closeRoom": None}
        assert refused["errors"][0]["errorType"] == "Unauthorized"
        assert refused["errors"][0]["message"] == "Not Authorized to access closeRoom on type Mutation"
        assert ask(served, CLOSE, show("bob", "moderators"), room="r")["data"]["closeRoom"]["id"] == "r"


def list_printed(served: Served) -> list[str]:
    """The lines to paste, of those that have been read so far."""
    return [line.strip() for line in served.output if line.startswith("  .venv/bin/fanout ")]


def test_what_make_run_prints_works_as_it_is_printed_and_is_what_readme_says() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"$(BIN)/fanout serve --config {CONFIG}\n" in makefile
    with serve("--config", CONFIG, keys=False, directory=ROOT) as served:
        wait_until(lambda: len(list_printed(served)) == 2)
        printed = list_printed(served)
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        for line in printed:
            known = re.sub(r"da2-\w+", "da2-...", line).replace(f" --url {served.url}", "")
            assert known in readme, known
        subscribe, publish = [shlex.split(line)[1:] for line in printed]
        command = [sys.executable, "-m", "fanout", *subscribe[:1], "--count", "1", *subscribe[1:]]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as subscriber:
            try:
                wait_until(lambda: served.read_metric("fanout_subscriptions") == 1)
                result = run_command(*publish)
                assert result.returncode == 0, result.stderr
                output, _ = subscriber.communicate(timeout=30)
            finally:
                subscriber.kill()
        assert orjson.loads(output)["data"]["onCreateMessage"] == orjson.loads(publish[-1])
