"""aws-amplify v6 in mode `lambda`, unmodified, over TLS as it insists; examples/authorizer.py decides."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.node import NodeClient
from tests.served import PUBLISHER_KEY, Served, serve, wait_until
from tests.structure.sources import ROOT

pytestmark = pytest.mark.conformance

CONFIGURATION = """
auth_mode = "AWS_LAMBDA"
[lambda_authorizer]
function = "authorizer:authorize"
[subscriptions.onCreateMessage]
filter = { roomId = { eq = "$identity.resolverContext.tenant" } }
"""
ON_CREATE = "subscription On { onCreateMessage { id roomId } }"
CREATE = "mutation M($input: CreateMessageInput!) { createMessage(input: $input) { id roomId } }"
DELETE = "mutation M($input: DeleteMessageInput!) { deleteMessage(input: $input) { id roomId } }"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("amplify")
    (directory / "fanout.toml").write_text(CONFIGURATION)
    shutil.copy(ROOT / "examples" / "authorizer.py", directory)
    arguments = ("--config", "fanout.toml", "--tls-dev", "--publisher-key", PUBLISHER_KEY)
    with serve(*arguments, keys=False, directory=directory) as process:
        yield process


@pytest.fixture
def connect(node_packages: None, served: Served) -> Iterator[Callable[[str], NodeClient]]:
    ca = Path(re.search(r"CA to trust\s+(.+)", "".join(served.output))[1].strip())
    clients = []

    def start(token: str) -> NodeClient:
        clients.append(NodeClient("amplify_lambda.mjs", f"{served.url}/graphql", "", ca, {"TOKEN": token}))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()


def wait_for_subscriptions(served: Served, count: int) -> None:
    wait_until(lambda: served.read_metric("fanout_subscriptions") == count, 60)


def test_subscribe_receive_mutate(served, connect):
    client = connect("token-of-ann")
    client.subscribe("here", ON_CREATE, {})
    wait_for_subscriptions(served, 1)
    for id, room in (("1", "blue"), ("2", "red")):
        client.subscribe(f"mutation-{id}", CREATE, {"input": {"id": id, "roomId": room}})
    names = [client.next_message() for _ in range(3)]
    received = [message["next"]["data"] for message in names if message["name"] == "here"]
    assert received == [{"onCreateMessage": {"id": "2", "roomId": "red"}}]
    client.unsubscribe("here")
    wait_for_subscriptions(served, 0)


def test_a_denied_field_is_told(connect):
    client = connect("token-of-ann")
    client.subscribe("mutation", DELETE, {"input": {"id": "1", "roomId": "red"}})
    assert "Not Authorized to access deleteMessage on type Mutation" in client.next_message()["error"]


def test_strangers_are_refused(served, connect):
    client = connect("token-of-nobody")
    client.subscribe("here", ON_CREATE, {})
    assert "nauthorized" in client.next_message()["error"]
    client.subscribe("mutation", CREATE, {"input": {"id": "1", "roomId": "red"}})
    assert "nauthorized" in client.next_message()["error"]
    assert served.read_metric("fanout_subscriptions") == 0
