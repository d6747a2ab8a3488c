"""aws-amplify v6 in modes `userPool` and `oidc`, unmodified, over TLS as it insists."""

import json
import re
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conformance.node import NodeClient
from tests.issuer import Issuer, serve_issuer, sign
from tests.served import PUBLISHER_KEY, Served, serve, wait_until

pytestmark = pytest.mark.conformance

ON_CREATE = "subscription InRoom($roomId: ID) { onCreateMessage(roomId: $roomId) { id content } }"
CREATE = "mutation M($input: CreateMessageInput!) { createMessage(input: $input) { id roomId content author } }"


@dataclass(frozen=True)
class Deployment:
    """A service that lets users of one issuer in, by one of the modes."""

    mode: str
    served: Served
    issuer: Issuer
    ca: Path
    token_file: Path

    def write_token(self, seconds: float = 3600, **claims: str) -> None:
        """What the client's token provider has from now on."""
        now = time.time()
        usual = {"iss": self.issuer.url, "sub": "u-1", "iat": int(now), "exp": now + seconds}
        if self.mode == "userPool":
            usual |= {"token_use": "access", "client_id": "app", "username": "ada"}
        else:
            usual |= {"aud": "app"}
        new = self.token_file.with_suffix(".new")
        new.write_text(sign({**usual, **claims}))
        new.rename(self.token_file)

    def publish(self, id: str) -> None:
        event = {"mutation": "createMessage", "data": {"id": id, "roomId": "r", "content": "ü"}}
        verify = ssl.create_default_context(cafile=self.ca)
        headers = {"x-api-key": PUBLISHER_KEY}
        answer = httpx.post(f"{self.served.url}/events", json=event, headers=headers, verify=verify)
        assert answer.status_code == 202, answer.text

    def wait_for_subscriptions(self, count: int) -> None:
        wait_until(lambda: self.served.read_metric("fanout_subscriptions") == count, 60)


@pytest.fixture(scope="module", params=["userPool", "oidc"])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp(request.param)
    with serve_issuer() as issuer:
        tables = {
            "userPool": f"""auth_mode = "AMAZON_COGNITO_USER_POOLS"
                [[cognito]]
                user_pool_id = "eu-west-1_A"
                app_id_client_regex = "app"
                issuer = "{issuer.url}"
                """,
            "oidc": f"""auth_mode = "OPENID_CONNECT"
                [[oidc]]
                issuer = "{issuer.url}"
                client_id = "app"
                """,
        }
        (directory / "fanout.toml").write_text(tables[request.param])
        arguments = ("--config", "fanout.toml", "--tls-dev", "--publisher-key", PUBLISHER_KEY)
        with serve(*arguments, keys=False, directory=directory) as served:
            ca = Path(re.search(r"CA to trust\s+(.+)", "".join(served.output))[1].strip())
            yield Deployment(request.param, served, issuer, ca, directory / "token")


@pytest.fixture
def connect(node_packages: None, deployment: Deployment) -> Iterator[Callable[[], NodeClient]]:
    clients = []

    def start() -> NodeClient:
        environment = {"MODE": deployment.mode, "TOKEN_FILE": str(deployment.token_file)}
        url = f"{deployment.served.url}/graphql"
        clients.append(NodeClient("amplify_tokens.mjs", url, "", deployment.ca, environment))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()


def test_subscribe_receive_mutate(deployment, connect):
    deployment.write_token()
    client = connect()
    client.subscribe("here", ON_CREATE, {"roomId": "r"})
    deployment.wait_for_subscriptions(1)
    deployment.publish("1")
    assert client.next_message()["next"]["data"] == {"onCreateMessage": {"id": "1", "content": "ü"}}
    client.subscribe("mutation", CREATE, {"input": {"roomId": "r", "content": "by a token", "author": "ada"}})
    messages = {message["name"]: message for message in (client.next_message(), client.next_message())}
    assert messages["mutation"]["next"]["data"]["createMessage"]["content"] == "by a token"
    assert messages["here"]["next"]["data"]["onCreateMessage"]["content"] == "by a token"
    client.unsubscribe("here")
    deployment.wait_for_subscriptions(0)


def test_when_a_token_has_ended_it_comes_again_with_another(deployment, connect):
    """The token is good for so long that it is subscribed by then; if this machine is slow, once more for longer."""
    for seconds in (4, 16, 64):
        deployment.write_token(seconds)
        client = connect()
        client.subscribe("here", ON_CREATE, {"roomId": "r"})
        try:
            deployment.wait_for_subscriptions(1)
        except AssertionError:
            client.kill()
            continue
        deployment.write_token()
        deployment.wait_for_subscriptions(0)
        deployment.wait_for_subscriptions(1)
        deployment.publish("2")
        assert client.next_message()["next"]["data"] == {"onCreateMessage": {"id": "2", "content": "ü"}}
        client.unsubscribe("here")
        deployment.wait_for_subscriptions(0)
        return
    pytest.fail("no token was long enough")


@pytest.mark.parametrize("claims", [{"client_id": "other", "aud": "other"}, {"exp": 1}], ids=json.dumps)
def test_strangers_are_refused(deployment, connect, claims):
    deployment.write_token(**claims)
    client = connect()
    client.subscribe("here", ON_CREATE, {"roomId": "r"})
    assert "nauthorized" in client.next_message()["error"]
    client.subscribe("mutation", CREATE, {"input": {"roomId": "r", "content": "c", "author": "a"}})
    assert "nauthorized" in client.next_message()["error"]
    assert deployment.served.read_metric("fanout_subscriptions") == 0
