"""aws-amplify v6 in mode `iam`, unmodified: its own signer, over TLS as it insists."""

import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conformance.node import NodeClient
from tests.served import PUBLISHER_KEY, Served, serve, wait_until

pytestmark = pytest.mark.conformance

ON_CREATE = "subscription InRoom($roomId: ID) { onCreateMessage(roomId: $roomId) { id content } }"
CREATE = "mutation M($input: CreateMessageInput!) { createMessage(input: $input) { id roomId content author } }"
CONFIGURATION = """
auth_mode = "AWS_IAM"
[iam]
region = "eu-west-1"

[[iam.users]]
access_key_id = "AKIAADA"
secret_access_key = "ada+secret/with=signs"

[[iam.users]]
access_key_id = "ASIABOB"
secret_access_key = "bob's secret"
session_token = "bob's+session/token=="
"""
ADA = {"ACCESS_KEY_ID": "AKIAADA", "SECRET_ACCESS_KEY": "ada+secret/with=signs", "REGION": "eu-west-1"}
BOB = {
    "ACCESS_KEY_ID": "ASIABOB",
    "SECRET_ACCESS_KEY": "bob's secret",
    "SESSION_TOKEN": "bob's+session/token==",
    "REGION": "eu-west-1",
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("signed")
    (directory / "fanout.toml").write_text(CONFIGURATION)
    with serve("--config", "fanout.toml", "--tls-dev", directory=directory) as process:
        yield process


@pytest.fixture(scope="module")
def ca(served: Served) -> Path:
    found = re.search(r"CA to trust\s+(.+)", "".join(served.output))
    return Path(found[1].strip())


@pytest.fixture
def connect(node_packages: None, served: Served, ca: Path) -> Iterator[Callable[[dict[str, str]], NodeClient]]:
    clients = []

    def start(credentials: dict[str, str]) -> NodeClient:
        clients.append(NodeClient("amplify_signed.mjs", f"{served.url}/graphql", "", ca, credentials))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()


@pytest.mark.parametrize("credentials", [ADA, BOB], ids=["permanent", "temporary"])
def test_subscribe_receive_mutate(served, ca, connect, credentials):
    client = connect(credentials)
    client.subscribe("here", ON_CREATE, {"roomId": "Zoë's 🐘"})
    wait_until(lambda: served.read_metric("fanout_subscriptions") == 1, 30)
    event = {"mutation": "createMessage", "data": {"id": "1", "roomId": "Zoë's 🐘", "content": "ü"}}
    verify = ssl.create_default_context(cafile=ca)
    answer = httpx.post(f"{served.url}/events", json=event, headers={"x-api-key": PUBLISHER_KEY}, verify=verify)
    assert answer.status_code == 202, answer.text
    assert client.next_message()["next"]["data"] == {"onCreateMessage": {"id": "1", "content": "ü"}}
    client.subscribe("mutation", CREATE, {"input": {"roomId": "Zoë's 🐘", "content": "signed 🐘", "author": "ada"}})
    messages = {message["name"]: message for message in (client.next_message(), client.next_message())}
    created = messages["mutation"]["next"]["data"]["createMessage"]
    received = messages["here"]["next"]["data"]["onCreateMessage"]
    assert received == {"id": created["id"], "content": "signed 🐘"}
    client.unsubscribe("here")
    wait_until(lambda: served.read_metric("fanout_subscriptions") == 0, 30)


@pytest.mark.parametrize(
    "credentials",
    [
        {**ADA, "SECRET_ACCESS_KEY": "wrong"},
        {**ADA, "ACCESS_KEY_ID": "AKIANOBODY"},
        {**ADA, "REGION": "us-east-1"},
        {**BOB, "SESSION_TOKEN": ""},
    ],
    ids=["secret", "key", "region", "token"],
)
def test_strangers_are_refused(served, connect, credentials):
    client = connect(credentials)
    client.subscribe("here", ON_CREATE, {"roomId": "r"})
    message = client.next_message()
    assert "nauthorized" in message["error"], message
    client.subscribe("mutation", CREATE, {"input": {"roomId": "r", "content": "c", "author": "a"}})
    message = client.next_message()
    assert "nauthorized" in message["error"], message
    assert served.read_metric("fanout_subscriptions") == 0
