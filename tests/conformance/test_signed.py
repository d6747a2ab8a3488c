"""AWS_IAM with signers that nobody here wrote: gql's for AppSync's WebSockets, botocore's for HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from gql import Client
from gql.transport.appsync_auth import AppSyncIAMAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportQueryError, TransportServerError
from gql.transport.websockets import WebsocketsTransport

from tests.conformance.test_gql import CREATE, ON_CREATE, ask, start
from tests.served import API_KEY, AppSyncClient, Served, connect_appsync, encode_header, serve, wait_until_async

REGION = "eu-west-1"
ADA = Credentials("AKIAADA", "ada+secret/with=signs")
TEMPORARY = Credentials("ASIABOB", "bob's secret", "bob's+session/token==")
READER = Credentials("AKIAREADER", "reader's secret")
STRANGERS = [
    pytest.param(Credentials("AKIAADA", "wrong"), id="wrong secret"),
    pytest.param(Credentials("AKIANOBODY", "ada+secret/with=signs"), id="unknown key"),
    pytest.param(Credentials("ASIABOB", "bob's secret"), id="no session token"),
    pytest.param(Credentials("ASIABOB", "bob's secret", "a stranger's token"), id="another session token"),
]
CONFIGURATION = f"""
auth_mode = "AWS_IAM"
[iam]
region = "{REGION}"

[[iam.users]]
access_key_id = "AKIAADA"
secret_access_key_env = "ADA_SECRET"
username = "ada"

[[iam.users]]
access_key_id = "ASIABOB"
secret_access_key_file = "bob.secret"
session_token = "{TEMPORARY.token}"

[[iam.users]]
access_key_id = "AKIAREADER"
secret_access_key = "{READER.secret_key}"

[[iam.users.statements]]
resources = ["arn:aws:appsync:{REGION}:123456789012:apis/abc/types/Subscription/fields/onCreate*", "types/Query/*"]

[[iam.users.statements]]
effect = "Deny"
resources = ["types/Message/fields/author"]

[subscriptions.onDeleteMessage]
filter = {{ author = {{ eq = "$identity.username" }} }}
"""


@contextmanager
def serve_signed(directory: Path) -> Iterator[Served]:
    (directory / "fanout.toml").write_text(CONFIGURATION)
    (directory / "bob.secret").write_text(f"{TEMPORARY.secret_key}\n")
    environment = {"ADA_SECRET": ADA.secret_key}
    with serve(
        "--config", "fanout.toml", "--log-level", "debug", directory=directory, environment=environment
    ) as process:
        yield process


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_signed(tmp_path_factory.mktemp("signed")) as process:
        yield process


def sign(served: Served, credentials: Credentials, region: str = REGION) -> AppSyncIAMAuthentication:
    return AppSyncIAMAuthentication(f"127.0.0.1:{served.port}", region_name=region, credentials=credentials)


def appsync(served: Served, authentication: AppSyncIAMAuthentication) -> AppSyncWebsocketsTransport:
    return AppSyncWebsocketsTransport(url=f"ws://127.0.0.1:{served.port}/graphql", auth=authentication)


def post(
    served: Served, credentials: Credentials, body: bytes, *, query: str = "", headers: Mapping[str, str] | None = None
) -> httpx.Request:
    """A request to /graphql as botocore signs it."""
    given = {"content-type": "application/json", "x-amz-user-agent": "tests  of   blanks", **(headers or {})}
    request = AWSRequest("POST", f"{served.url}/graphql{query}", headers=given, data=body)
    SigV4Auth(credentials, "appsync", REGION).add_auth(request)
    return httpx.Request("POST", request.url, headers=dict(request.headers.items()), content=body)


@pytest.mark.parametrize("credentials", [ADA, TEMPORARY], ids=["permanent", "temporary"])
async def test_gql_connects_and_subscribes(served: Served, credentials: Credentials) -> None:
    async with Client(transport=appsync(served, sign(served, credentials))) as session:
        events = session.subscribe(ask(ON_CREATE, roomId="Zoë's 🐘"))
        receiving = await start(served, events, 1)
        for number in range(2):
            served.publish("createMessage", {"id": str(number), "roomId": "Zoë's 🐘"})
        assert [event["onCreateMessage"]["id"] for event in await receiving] == ["0", "1"]
        await events.aclose()


@pytest.mark.parametrize("credentials", STRANGERS)
async def test_strangers_do_not_connect(served: Served, credentials: Credentials) -> None:
    with pytest.raises(TransportServerError, match=r"UnauthorizedException.*You are not authorized"):
        async with Client(transport=appsync(served, sign(served, credentials))):
            pass


async def test_each_subscription_is_signed_for_itself(served: Served) -> None:
    authentication = sign(served, ADA)
    async with Client(transport=appsync(served, authentication)) as session:
        good = authentication._signer
        for other in (SigV4Auth(STRANGERS[0].values[0], "appsync", REGION), SigV4Auth(ADA, "appsync", "us-east-1")):
            authentication._signer = other
            with pytest.raises(TransportQueryError, match="You are not authorized"):
                await anext(session.subscribe(ask(ON_CREATE)))
        # What it has signed for the connection is of no use for a subscription.
        authentication._signer = good
        signed = authentication.get_headers()
        authentication.get_headers = lambda data: signed  # type: ignore[method-assign]
        with pytest.raises(TransportQueryError, match="You are not authorized"):
            await anext(session.subscribe(ask(ON_CREATE)))


async def test_a_filter_knows_who_has_signed(served: Served) -> None:
    document = "subscription { onDeleteMessage { id } }"
    async with Client(transport=appsync(served, sign(served, ADA))) as session:
        events = session.subscribe(ask(document))
        receiving = await start(served, events, 1)
        for id, author in (("1", "ada"), ("2", "bob"), ("3", "ada")):
            served.publish("deleteMessage", {"id": id, "roomId": "r", "author": author})
        assert [event["onDeleteMessage"]["id"] for event in await receiving] == ["1", "3"]
        await events.aclose()


async def test_in_the_other_dialects_the_signature_is_the_connection_s(served: Served) -> None:
    for subprotocol in (WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL, WebsocketsTransport.APOLLO_SUBPROTOCOL):
        transport = WebsocketsTransport(
            url=f"ws://127.0.0.1:{served.port}/graphql",
            init_payload=sign(served, ADA).get_headers(),
            subprotocols=[subprotocol],
        )
        async with Client(transport=transport) as session:
            events = session.subscribe(ask(ON_CREATE, roomId="other"))
            receiving = await start(served, events, 1)
            for number in range(2):
                served.publish("createMessage", {"id": str(number), "roomId": "other"})
            assert len(await receiving) == 2
            await events.aclose()


@pytest.mark.parametrize("credentials", [ADA, TEMPORARY], ids=["permanent", "temporary"])
@pytest.mark.parametrize("query", ["", "?b=2&a=1&a=0&space=x+y%20z"])
async def test_a_signed_request_is_executed(served: Served, credentials: Credentials, query: str) -> None:
    body = json.dumps({"query": CREATE, "variables": {"input": {"roomId": "Zoë 🐘", "content": "c", "author": "a"}}})
    async with httpx.AsyncClient() as client:
        request = post(served, credentials, body.encode(), query=query)
        response = await client.send(request)
        assert response.status_code == 200, response.text
        assert response.json()["data"]["createMessage"]["roomId"] == "Zoë 🐘"


async def test_headers_that_come_twice_are_signed_as_one(served: Served) -> None:
    body = b'{"query":"{ __typename }"}'
    async with httpx.AsyncClient() as client:
        twice = post(served, ADA, body, headers={"x-twice": "a,b"})
        del twice.headers["x-twice"]
        twice.headers = httpx.Headers([*twice.headers.raw, (b"x-twice", b"a"), (b"x-twice", b"b")])
        assert (await client.send(twice)).status_code == 200
        more = post(served, ADA, body, headers={"x-twice": "a"})
        more.headers = httpx.Headers([*more.headers.raw, (b"x-twice", b"b")])
        assert (await client.send(more)).status_code == 401


@pytest.mark.parametrize("credentials", STRANGERS)
async def test_strangers_requests_are_not(served: Served, credentials: Credentials) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.send(post(served, credentials, b'{"query":"{ __typename }"}'))
        assert response.status_code == 401
        error = {"errorType": "UnauthorizedException", "message": "You are not authorized to make this call."}
        assert response.json() == {"errors": [error]}


@pytest.mark.parametrize("what", ["body", "query", "header", "host", "api key beside it"])
async def test_a_request_that_was_changed_on_its_way_is_not(served: Served, what: str) -> None:
    body = b'{"query":"{ __typename }"}'
    request = post(served, ADA, body)
    changed: dict[str, Any] = {"url": request.url, "headers": dict(request.headers), "content": body}
    match what:
        case "body":
            changed["content"] = body.replace(b"{ ", b"{  ")
            del changed["headers"]["content-length"]
        case "query":
            changed["url"] = request.url.copy_with(query=b"a=1")
        case "header":
            changed["headers"]["content-type"] = "application/json;"
        case "host":
            changed["headers"]["host"] = f"localhost:{served.port}"
        case _:  # a signature decides, whatever else comes with it
            changed["headers"] |= {"x-api-key": API_KEY, "x-amz-date": "20200101T000000Z"}
    async with httpx.AsyncClient() as client:
        assert (await client.send(httpx.Request("POST", **changed))).status_code == 401


async def test_a_log_says_why_without_credentials(served: Served) -> None:
    request = post(served, STRANGERS[-1].values[0], b'{"query":"{ __typename }"}')
    async with httpx.AsyncClient() as client:
        assert (await client.send(request)).status_code == 401
    await wait_until_async(lambda: "a request to /graphql is refused: x-amz-security-token" in "".join(served.log))
    text = "".join(served.log) + "".join(served.output)
    for secret in (ADA.secret_key, TEMPORARY.secret_key, TEMPORARY.token, "a stranger's token", "Signature="):
        assert secret not in text


async def test_a_reload_ends_what_was_signed_with_what_is_not_good_any_more(tmp_path: Path) -> None:
    with serve_signed(tmp_path) as served:
        ada, bob = sign(served, ADA), sign(served, TEMPORARY)
        data = json.dumps({"query": "subscription { onCreateMessage { id } }"})

        async def connect(stack: AsyncExitStack, signer: AppSyncIAMAuthentication) -> AppSyncClient:
            offered = ["graphql-ws", encode_header(signer.get_headers())]
            client: AppSyncClient = await stack.enter_async_context(connect_appsync(served.url, subprotocols=offered))
            return client

        async def start_as(client: AppSyncClient, id: str, signer: AppSyncIAMAuthentication) -> None:
            payload = {"data": data, "extensions": {"authorization": signer.get_headers(data)}}
            await client.send({"type": "start", "id": id, "payload": payload})
            assert await client.receive() == {"type": "start_ack", "id": id}

        async with AsyncExitStack() as stack:
            of_ada, of_bob = await connect(stack, ada), await connect(stack, bob)
            await start_as(of_ada, "ada", ada)
            await start_as(of_ada, "bob", bob)
            await start_as(of_bob, "bob", bob)
            (tmp_path / "bob.secret").write_text("another one")
            served.process.send_signal(signal.SIGHUP)
            told = await of_ada.receive()
            assert (told["type"], told["id"]) == ("error", "bob")
            assert (await of_bob.receive())["type"] == "connection_error"
            await asyncio.wait_for(of_bob.connection.wait_closed(), 20)
            assert of_bob.connection.close_code == 4401
            served.publish("createMessage", {"id": "1", "roomId": "r"})
            assert (await of_ada.receive_data())[0] == "ada"
        await wait_until_async(lambda: any("changed: iam" in line for line in served.log))
        async with connect_appsync(served.url):
            pass


async def test_statements_decide_about_fields(served: Served) -> None:
    async with Client(transport=appsync(served, sign(served, READER))) as session:
        events = session.subscribe(ask(ON_CREATE, roomId="statements"))
        receiving = await start(served, events, 1)
        for number in range(2):
            served.publish("createMessage", {"id": str(number), "roomId": "statements"})
        assert len(await receiving) == 2
        await events.aclose()
        for document, refused in (
            ("subscription { onDeleteMessage { id } }", "onDeleteMessage on type Subscription"),
            ("subscription { onCreateMessage { id author } }", "author on type Message"),
        ):
            with pytest.raises(TransportQueryError, match=f"Not Authorized to access {refused}"):
                await anext(session.subscribe(ask(document)))
    async with httpx.AsyncClient() as client:
        variables = {"input": {"roomId": "statements", "content": "c", "author": "a"}}
        for document, is_allowed in (("{ __typename }", True), (CREATE, False)):
            body = json.dumps({"query": document, "variables": variables}).encode()
            answer = await client.send(post(served, READER, body))
            assert answer.status_code == 200
            assert ("errors" not in answer.json()) is is_allowed
            assert ("Not Authorized to access createMessage on type Mutation" in answer.text) is not is_allowed
