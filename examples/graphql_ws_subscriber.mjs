// Subscribe with npm `graphql-ws`: `node graphql_ws_subscriber.mjs API_KEY ROOM`, needs graphql-ws, graphql and ws.

import { createClient } from 'graphql-ws'
import WebSocket from 'ws'

const [apiKey, roomId] = process.argv.slice(2)

const client = createClient({
  url: 'ws://127.0.0.1:8080/graphql',
  connectionParams: { 'x-api-key': apiKey },
  webSocketImpl: WebSocket,
})

const query = 'subscription On($roomId: ID!) { onCreateMessage(roomId: $roomId) { id roomId content } }'

for await (const event of client.iterate({ query, variables: { roomId } })) {
  console.log(JSON.stringify(event))
}
