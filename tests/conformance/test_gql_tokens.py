"""Python `gql` with tokens of a Cognito user pool, as moto's server issues them: real RS256 tokens and key set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import pytest
from gql import Client
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.appsync_auth import AppSyncJWTAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportServerError
from moto.server import ThreadedMotoServer

from tests.conformance.test_gql import CREATE, ON_CREATE, ask, start
from tests.served import PUBLISHER_KEY, Served, encode_header, open_appsync, serve, wait_until_async

PASSWORD = "Correct-horse-1"
ON_MINE = "subscription { onCreateMessage { id author } }"


@dataclass(frozen=True)
class Pool:
    """A user pool with one user in the group `staff`."""

    id: str
    client_id: str
    keys_url: str
    access_token: str
    id_token: str


def _create_pool(cognito: Any, endpoint: str) -> Pool:
    pool = cognito.create_user_pool(PoolName="users")["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool, ClientName="web", ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool, Username="ada", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="ada", Password=PASSWORD, Permanent=True)
    cognito.create_group(UserPoolId=pool, GroupName="staff")
    cognito.admin_add_user_to_group(UserPoolId=pool, Username="ada", GroupName="staff")
    tokens = cognito.initiate_auth(
        ClientId=client, AuthFlow="USER_PASSWORD_AUTH", AuthParameters={"USERNAME": "ada", "PASSWORD": PASSWORD}
    )["AuthenticationResult"]
    keys_url = f"{endpoint}/{pool}/.well-known/jwks.json"
    return Pool(pool, client, keys_url, tokens["AccessToken"], tokens["IdToken"])


@pytest.fixture(scope="module")
def pools() -> Iterator[tuple[Pool, Pool]]:
    """Two pools; only the first is configured."""
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    cognito = boto3.client(
        "cognito-idp",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield _create_pool(cognito, endpoint), _create_pool(cognito, endpoint)
    cognito.close()
    moto.stop()


@pytest.fixture(scope="module")
def served(pools: tuple[Pool, Pool], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pool = pools[0]
    directory = tmp_path_factory.mktemp("cognito")
    (directory / "fanout.toml").write_text(f"""
auth_mode = "AMAZON_COGNITO_USER_POOLS"
publisher_key = ["{PUBLISHER_KEY}"]

[subscriptions.onCreateMessage]
filter = {{ author = {{ eq = "$identity.username" }} }}

[[cognito]]
user_pool_id = "{pool.id}"
app_id_client_regex = "{pool.client_id}"
jwks_url = "{pool.keys_url}"
""")
    with serve("--config", "fanout.toml", keys=False, directory=directory) as process:
        yield process
        assert not [line for line in process.log if pool.access_token[-20:] in line]


def connect(served: Served, token: str) -> Client:
    host = f"127.0.0.1:{served.port}"
    authentication = AppSyncJWTAuthentication(host=host, jwt=token)
    return Client(transport=AppSyncWebsocketsTransport(url=f"ws://{host}/graphql", auth=authentication))


@pytest.mark.parametrize("kind", ["access", "id"])
@pytest.mark.parametrize("prefix", ["", "Bearer "])
async def test_a_user_of_the_pool_receives_what_the_filter_says(
    served: Served, pools: tuple[Pool, Pool], kind: str, prefix: str
) -> None:
    token = prefix + (pools[0].access_token if kind == "access" else pools[0].id_token)
    async with connect(served, token) as session:
        events = session.subscribe(ask(ON_MINE))
        receiving = await start(served, events, 1)
        for id, author in (("1", "ada"), ("2", "bob"), ("3", "ada")):
            served.publish("createMessage", {"id": id, "roomId": "r", "author": author})
        received = await receiving
        assert [event["onCreateMessage"] for event in received] == [
            {"id": "1", "author": "ada"},
            {"id": "3", "author": "ada"},
        ]
        await events.aclose()
        await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 0)


async def test_a_mutation_with_a_token(served: Served, pools: tuple[Pool, Pool]) -> None:
    http = AIOHTTPTransport(url=f"{served.url}/graphql", headers={"Authorization": pools[0].access_token})
    async with connect(served, pools[0].access_token) as session, Client(transport=http) as publishing:
        events = session.subscribe(ask(ON_CREATE, roomId="http"))
        receiving = await start(served, events, 1)
        for number in range(2):
            await publishing.execute(ask(CREATE, input={"roomId": "http", "content": f"c{number}", "author": "ada"}))
        assert [event["onCreateMessage"]["content"] for event in await receiving] == ["c0", "c1"]
        await events.aclose()
        await wait_until_async(lambda: served.read_metric("fanout_subscriptions") == 0)


async def test_other_tokens_are_refused(served: Served, pools: tuple[Pool, Pool]) -> None:
    access = pools[0].access_token
    for token in (pools[1].access_token, pools[1].id_token, access[:-20], access[:-20] + "A" * 20, "secret"):
        with pytest.raises(TransportServerError, match="You are not authorized"):
            async with connect(served, token):
                pass
        answer = httpx.post(f"{served.url}/graphql", headers={"authorization": token}, json={"query": "{__typename}"})
        assert answer.status_code == 401
        assert answer.json()["errors"][0]["errorType"] == "UnauthorizedException"


def test_no_api_key_is_made_where_users_are_let_in_by_tokens(served: Served) -> None:
    assert "API key        none" in "".join(served.output)


async def test_a_token_is_good_on_each_start_too(served: Served, pools: tuple[Pool, Pool]) -> None:
    """Connected as one user of the pool, a start with another pool's token is refused alone."""
    header = encode_header({"host": "localhost", "Authorization": pools[0].access_token})
    async with open_appsync(served.url, subprotocols=["graphql-ws", header]) as client:
        await client.initialise()
        for token, expected in ((pools[1].access_token, "error"), (pools[0].id_token, "start_ack")):
            data = f'{{"query": "{ON_MINE}"}}'
            extensions = {"authorization": {"host": "localhost", "Authorization": token}}
            await client.send({"id": expected, "type": "start", "payload": {"data": data, "extensions": extensions}})
            answer = await client.receive()
            assert (answer["type"], answer["id"]) == (expected, expected)
