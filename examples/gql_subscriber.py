"""Subscribe with Python `gql`: `python examples/gql_subscriber.py API_KEY ROOM`, needs gql[websockets]."""

import asyncio
import sys

from gql import Client, GraphQLRequest
from gql.transport.appsync_auth import AppSyncApiKeyAuthentication
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport

QUERY = "subscription On($roomId: ID!) { onCreateMessage(roomId: $roomId) { id roomId content } }"


async def main(api_key: str, room: str) -> None:
    auth = AppSyncApiKeyAuthentication(host="127.0.0.1:8080", api_key=api_key)
    transport = AppSyncWebsocketsTransport(url="ws://127.0.0.1:8080/graphql", auth=auth)
    async with Client(transport=transport) as session:
        async for event in session.subscribe(GraphQLRequest(QUERY, variable_values={"roomId": room})):
            print(event, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
