"""Resolvers with clients and tools that nobody here wrote: Amplify v6, esbuild, and AWS's linter for APPSYNC_JS."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.node import NodeClient
from tests.served import API_KEY, Served, connect_appsync, serve, wait_until
from tests.structure.sources import ROOT

pytestmark = pytest.mark.conformance

FOLDER = Path(__file__).parent
PROGRAMS = FOLDER / "node_modules" / ".bin"
CHAT = ROOT / "examples" / "chat"
ON_CREATE = "subscription On($roomId: ID!) { onCreateMessage(roomId: $roomId) { id author content } }"
CREATE = "mutation Create($input: CreateMessageInput!) { createMessage(input: $input) { id roomId author content } }"
CLOSE = "mutation Close($roomId: ID!) { closeRoom(roomId: $roomId) { id } }"
# As docs/resolvers.md has it.
BUNDLE = ["--bundle", "--external:@aws-appsync/utils", "--format=esm", "--platform=node", "--target=esnext"]
SOURCE_MAP = ["--sourcemap=inline", "--sources-content=false"]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The chat example with TLS, as Amplify wants it."""
    directory = tmp_path_factory.mktemp("chat")
    shutil.copytree(CHAT, directory / "examples" / "chat")
    with serve("--config", "examples/chat/fanout.toml", "--tls-dev", directory=directory) as process:
        yield process


@pytest.fixture
def connect(node_packages: None, chat: Served) -> Iterator[Callable[[], NodeClient]]:
    ca = Path(re.search(r"CA to trust\s+(.+)", "".join(chat.output))[1].strip())
    clients = []

    def start() -> NodeClient:
        clients.append(NodeClient("amplify.mjs", f"{chat.url}/graphql", API_KEY, ca))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()


def wait_for_subscriptions(served: Served, count: int) -> None:
    wait_until(lambda: served.read_metric("fanout_subscriptions") == count, 60)


def create(client: NodeClient, name: str, room: str, content: str) -> None:
    client.subscribe(name, CREATE, {"input": {"roomId": room, "content": content, "author": "ann"}})


def test_amplify_gets_the_messages_of_its_room_as_the_mutation_made_them(chat: Served, connect: Any) -> None:
    client = connect()
    client.subscribe("garden", ON_CREATE, {"roomId": "garden"})
    wait_for_subscriptions(chat, 1)
    chat.publish("createMessage", {"id": "0", "roomId": "garden", "content": ""})
    sent = {}
    received = []
    for name, room, content in (("a", "cellar", "no"), ("b", "garden", " one "), ("c", "garden", "two")):
        create(client, name, room, content)
        for _ in range(1 if room == "cellar" else 2):
            message = client.next_message()
            data = message["next"]["data"]
            if message["name"] == "garden":
                received.append(data["onCreateMessage"])
            else:
                sent[message["name"]] = data["createMessage"]
    expected = [{key: sent[name][key] for key in ("id", "author", "content")} for name in ("b", "c")]
    assert received == expected
    assert [message["content"] for message in received] == ["one", "two"]
    client.unsubscribe("garden")
    wait_for_subscriptions(chat, 0)


def test_amplify_is_told_appsyncs_errors(chat: Served, connect: Any) -> None:
    client = connect()
    create(client, "mutation", "garden", "  ")
    answer = json.loads(re.search(r"\{.*", client.next_message()["error"])[0])
    assert answer["data"] == {"createMessage": None}
    [error] = answer["errors"]
    assert (error["errorType"], error["errorInfo"]) == ("ValidationError", {"field": "content"})
    assert (error["path"], error["message"]) == (["createMessage"], "A message has content.")
    client.subscribe("refused", ON_CREATE, {"roomId": " "})
    assert "Which room? roomId is empty." in client.next_message()["error"]


def test_amplify_s_subscription_ends_when_its_room_is_closed(chat: Served, connect: Any) -> None:
    client = connect()
    client.subscribe("doomed", ON_CREATE, {"roomId": "doomed"})
    wait_for_subscriptions(chat, 1)
    client.subscribe("close", CLOSE, {"roomId": "doomed"})
    messages = {message["name"]: message for message in (client.next_message(), client.next_message())}
    assert messages["close"]["next"]["data"] == {"closeRoom": {"id": "doomed"}}
    assert "Subscription complete." in messages["doomed"]["error"]
    wait_for_subscriptions(chat, 0)


@pytest.mark.parametrize("options", [SOURCE_MAP, ["--minify"]], ids=["source-map", "minified"])
async def test_typescript_that_esbuild_made_modules_of(node_packages: None, tmp_path: Path, options: list[str]) -> None:
    sources = sorted(str(path) for path in (FOLDER / "typescript").glob("*.ts"))
    target = f"--outdir={tmp_path / 'resolvers'}"
    subprocess.run([PROGRAMS / "esbuild", *sources, target, *BUNDLE, *options], check=True, capture_output=True)
    arguments = ("--schema", str(CHAT / "schema.graphql"), "--resolvers", "resolvers")
    with serve(*arguments, directory=tmp_path) as served:

        def send(content: str) -> Any:
            body = {"query": CREATE, "variables": {"input": {"roomId": "a", "content": content}}}
            return httpx.post(f"{served.url}/graphql", headers={"x-api-key": API_KEY}, json=body).json()

        async with connect_appsync(served.url) as client:
            await client.subscribe("s", ON_CREATE, {"roomId": " a "})
            assert send("x" * 101)["errors"][0]["message"] == "content: 1 to 100 characters"
            created = send("  hello ")["data"]["createMessage"]
            assert created["content"] == "hello"
            assert (await client.receive_data())[1]["data"]["onCreateMessage"]["id"] == created["id"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    settings = {"allowJs": True, "noEmit": True, "target": "esnext", "module": "esnext", "moduleResolution": "bundler"}
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": settings, "include": ["."]}))
    command = [PROGRAMS / "eslint", "--config", FOLDER / "eslint.config.mjs", "."]
    environment = os.environ | {"RESOLVERS": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_examples_are_what_appsync_takes(node_packages: None, tmp_path: Path) -> None:
    shutil.copytree(CHAT / "resolvers", tmp_path / "resolvers")
    for number, block in enumerate(list_blocks("resolvers") + list_blocks("from-appsync")):
        (tmp_path / f"block{number}.js").write_text(block)
    outcome = lint(tmp_path)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr

    (tmp_path / "wrong.js").write_text("export function request(ctx) { try { return {}; } catch { return null; } }")
    outcome = lint(tmp_path)
    assert outcome.returncode == 1
    assert re.findall(r"@aws-appsync/[\w-]+", outcome.stdout) == ["@aws-appsync/no-try"]


def list_blocks(page: str) -> list[str]:
    """The JavaScript of a page of docs/."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"^```js\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
