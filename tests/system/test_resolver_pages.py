"""docs/resolvers.md and docs/from-appsync.md: their files, written down as they stand there, do what the pages say."""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx
import orjson
import pytest
from moto.server import ThreadedMotoServer

from tests.served import Served, connect_appsync, run_command, serve
from tests.structure.sources import ROOT

RESOLVERS = (ROOT / "docs/resolvers.md").read_text(encoding="utf-8")
FIVE_MINUTES = RESOLVERS.partition("\n## Where files go")[0]
DATA_SOURCES = RESOLVERS.partition("\n## Data sources")[2].partition("\n## ")[0]
FROM_APPSYNC, _, BY_HTTP = (
    (ROOT / "docs/from-appsync.md").read_text(encoding="utf-8").partition("\n### DynamoDB by HTTP")
)
ROOM_A = 'subscription { onCreateMessage(roomId: "a") { id content createdAt } }'


def list_blocks(text: str, language: str) -> list[str]:
    """Code blocks in that language; those with commands and answers have none."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for found, block in blocks if found == language]


def find_curl(text: str) -> list[str]:
    """The arguments of the one command with curl."""
    [line] = [line for block in list_blocks(text, "") for line in block.splitlines() if line.startswith("curl ")]
    return shlex.split(line)


def send(served: Served, curl: list[str], replace: tuple[str, str] = ("", "")) -> dict[str, Any]:
    """Do what the command does, with the served process's address."""
    name, value = curl[curl.index("-H") + 1].split(": ")
    body = curl[curl.index("-d") + 1].replace(*replace)
    answer = httpx.post(f"{served.url}/graphql", headers={name: value}, content=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@contextmanager
def serve_as_said(text: str, directory: Path, option: str) -> Iterator[Served]:
    """The page's own command to serve, run in a directory."""
    [line] = [line for block in list_blocks(text, "") for line in block.splitlines() if f"serve {option}" in line]
    with serve(*shlex.split(line)[2:], keys=False, directory=directory) as served:
        yield served


async def test_a_first_resolver_in_five_minutes(tmp_path: Path) -> None:
    mutation, subscription = list_blocks(FIVE_MINUTES, "js")
    folder = tmp_path / "resolvers"
    folder.mkdir()
    (folder / "Mutation.createMessage.js").write_text(mutation)
    (folder / "Subscription.onCreateMessage.js").write_text(subscription)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    result = run_command("check", str(ROOT / "examples/messages.graphql"), "--resolvers", str(folder))
    assert result.returncode == 0, result.stderr

    with serve_as_said(FIVE_MINUTES, tmp_path, "--schema") as served:
        async with connect_appsync(served.url, key="da2-mine") as client:
            answer = await client.start("s", ROOM_A, key="da2-mine")
            assert answer["type"] == "start_ack"
            curl = find_curl(FIVE_MINUTES)
            refused = send(served, curl, ("  hello ", " "))
            assert refused == orjson.loads(list_blocks(FIVE_MINUTES, "")[-1])
            created = send(served, curl)["data"]["createMessage"]
            assert (created["roomId"], created["content"]) == ("a", "hello")
            created.pop("roomId")
            assert (await client.receive_data())[1] == {"data": {"onCreateMessage": created}}


async def test_an_api_of_appsync_comes_over(tmp_path: Path) -> None:
    (tmp_path / "schema.graphql").write_text((ROOT / "examples/messages.graphql").read_text(encoding="utf-8"))
    subscription, mutation = list_blocks(FROM_APPSYNC, "js")
    folder = tmp_path / "resolvers"
    folder.mkdir()
    (folder / "Subscription.onCreateMessage.js").write_text(subscription)
    (folder / "Mutation.createMessage.js").write_text(mutation)
    [configuration] = list_blocks(FROM_APPSYNC, "toml")
    (tmp_path / "fanout.toml").write_text(configuration)
    with serve_as_said(FROM_APPSYNC, tmp_path, "--config") as served:
        key = "da2-the-key-that-clients-have"
        async with connect_appsync(served.url, key=key) as client:
            assert (await client.start("s", ROOM_A, key=key))["type"] == "start_ack"
            created = send(served, find_curl(FROM_APPSYNC))["data"]["createMessage"]
            assert created["content"] == "hello"
            created.pop("roomId")
            assert (await client.receive_data())[1] == {"data": {"onCreateMessage": created}}


class Orders(BaseHTTPRequestHandler):
    """A back end that knows one order."""

    def do_GET(self) -> None:
        found = self.path == "/orders/7?fields=id%2Cstate" and self.headers["accept"] == "application/json"
        body = b'{"id": "7", "state": "paid"}' if found else b"no such order"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def orders() -> Iterator[str]:
    """Where a back end listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Orders) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_http_data_source(tmp_path: Path, orders: str) -> None:
    [configuration] = list_blocks(DATA_SOURCES, "toml")
    assert "https://api.example.com" in configuration
    served_as = 'schema = "api.graphql"\nresolvers = "resolvers"\napi_key = ["da2-mine"]\n'
    (tmp_path / "fanout.toml").write_text(served_as + configuration.replace("https://api.example.com", orders))
    (tmp_path / "api.graphql").write_text(
        "type Order { id: ID! state: String }\ntype Query { getOrder(id: ID!): Order }\n"
    )
    folder = tmp_path / "resolvers"
    folder.mkdir()
    [code] = list_blocks(DATA_SOURCES, "js")
    (folder / "Query.getOrder.js").write_text(code)
    with serve("--config", "fanout.toml", keys=False, directory=tmp_path) as served:

        def ask(id: str) -> dict[str, Any]:
            body = {"query": "query Get($id: ID!) { getOrder(id: $id) { id state } }", "variables": {"id": id}}
            answer = httpx.post(f"{served.url}/graphql", headers={"x-api-key": "da2-mine"}, json=body)
            return dict(answer.json())

        assert ask("7") == {"data": {"getOrder": {"id": "7", "state": "paid"}}}
        missing = ask("8")
        assert missing["data"] == {"getOrder": None}
        assert [(error["message"], error["errorType"]) for error in missing["errors"]] == [("no such order", "404")]


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    """A client of a DynamoDB with the table `messages`."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    client = boto3.client(
        "dynamodb",
        region_name="eu-west-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="secret",
    )
    client.create_table(
        TableName="messages",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield client
    client.close()
    moto.stop()


async def test_dynamodb_by_http(tmp_path: Path, dynamodb: Any) -> None:
    [configuration] = list_blocks(BY_HTTP, "toml")
    [code] = list_blocks(BY_HTTP, "js")
    aws = "https://dynamodb.eu-west-1.amazonaws.com"
    assert aws in configuration
    served_as = 'schema = "examples/messages.graphql"\nresolvers = "resolvers"\napi_key = ["da2-mine"]\n'
    (tmp_path / "fanout.toml").write_text(served_as + configuration.replace(aws, dynamodb.meta.endpoint_url))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "resolvers").mkdir()
    (tmp_path / "resolvers" / "Mutation.createMessage.js").write_text(code)
    secret = {"DYNAMODB_SECRET": "secret"}
    with serve("--config", "fanout.toml", keys=False, directory=tmp_path, environment=secret) as served:
        async with connect_appsync(served.url, key="da2-mine") as client:
            assert (await client.start("s", ROOM_A, key="da2-mine"))["type"] == "start_ack"
            created = send(served, find_curl(FIVE_MINUTES))["data"]["createMessage"]
            stored = dynamodb.get_item(TableName="messages", Key={"id": {"S": created["id"]}})["Item"]
            assert {name: value["S"] for name, value in stored.items()} == created
            created.pop("roomId")
            assert (await client.receive_data())[1] == {"data": {"onCreateMessage": created}}
            dynamodb.delete_table(TableName="messages")
            refused = send(served, find_curl(FIVE_MINUTES))
            assert refused["data"] == {"createMessage": None}
            assert refused["errors"][0]["errorType"] == "StorageError"
