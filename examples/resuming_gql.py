"""Load, subscribe from there, and miss nothing in between: `python examples/resuming_gql.py API_KEY ROOM [PORT]`.

Needs gql[websockets,aiohttp]. It goes on after any disconnect where it was, on any gateway: docs/resume.md.
"""

import asyncio
import sys
from typing import Any

from gql import Client, GraphQLRequest
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.appsync_auth import AppSyncApiKeyAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportError, TransportQueryError

QUERY = "subscription On($roomId: ID!) { onCreateMessage(roomId: $roomId) { id roomId content } }"


async def load(url: str, api_key: str) -> str:
    """Load the data, and return the position from before it was loaded."""
    transport = AIOHTTPTransport(url=url, headers={"x-api-key": api_key})
    async with Client(transport=transport) as session:
        # Your own query, if this API has the data; else ask for the position first, and load from elsewhere then.
        request = GraphQLRequest("{ __typename }", extensions={"fanout": {}})
        result = await session.execute(request, get_execution_result=True)
        return read_position(result)


def read_position(result: Any) -> str:
    """Where an answer or payload is in the streams."""
    return str(result.extensions["fanout"]["position"])


async def main(api_key: str, room: str, port: str = "8080") -> None:
    url = f"http://127.0.0.1:{port}/graphql"
    position: str | None = None
    while True:
        auth = AppSyncApiKeyAuthentication(host=f"127.0.0.1:{port}", api_key=api_key)
        transport = AppSyncWebsocketsTransport(url=url.replace("http", "ws"), auth=auth)
        try:
            if position is None:
                position = await load(url, api_key)
            request = GraphQLRequest(
                QUERY, variable_values={"roomId": room}, extensions={"fanout": {"after": position}}
            )
            async with Client(transport=transport) as session:
                # Only the whole result has the extensions.
                async for result in session.subscribe(request, get_execution_result=True):
                    print(result.data, flush=True)
                    position = read_position(result)
        except (TransportError, OSError) as error:
            if "PositionExpired" in str(error):
                print("too much was missed, loading anew", file=sys.stderr, flush=True)
                position = None
                continue
            # A request that is wrong stays wrong; a service that is away comes back.
            if isinstance(error, TransportQueryError) and "ServiceUnavailable" not in str(error):
                raise
            print("not connected, trying again", file=sys.stderr, flush=True)
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
