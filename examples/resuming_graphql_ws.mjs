// Load, subscribe from there, and miss nothing in between: `node resuming_graphql_ws.mjs API_KEY ROOM [PORT]`,
// needs graphql-ws, graphql and ws. It goes on after any disconnect where it was; see docs/resume.md.

import { createClient } from 'graphql-ws'
import WebSocket from 'ws'

const [apiKey, roomId, port = '8080'] = process.argv.slice(2)
const query = 'subscription On($roomId: ID!) { onCreateMessage(roomId: $roomId) { id roomId content } }'

const pause = () => new Promise((resolve) => setTimeout(resolve, 500))

// Load the data, and return the position from before it was loaded.
async function load() {
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/graphql`, {
      method: 'POST',
      headers: { 'x-api-key': apiKey },
      // Your own query, if this API has the data; else ask for the position first, and load from elsewhere then.
      body: JSON.stringify({ query: '{ __typename }', extensions: { fanout: {} } }),
    }).catch(() => undefined)
    if (answer?.ok) return (await answer.json()).extensions.fanout.position
    // A request that is wrong stays wrong; a service that is away comes back.
    if (answer && answer.status < 500) throw new Error(await answer.text())
    console.error('not connected, trying again')
    await pause()
  }
}

const client = createClient({
  url: `ws://127.0.0.1:${port}/graphql`,
  connectionParams: { 'x-api-key': apiKey },
  webSocketImpl: WebSocket,
  retryAttempts: Infinity,
  retryWait: pause,
  // While nobody listens at the address, ws tells an error and not a close. Wrong credentials stay wrong (4403).
  shouldRetry: (problem) => problem.code !== 4403,
})

let position = await load()
for (;;) {
  try {
    const payload = {
      query,
      variables: { roomId },
      // The client sends the payload again whenever it has connected again: with the position of that moment.
      extensions: { fanout: { get after() { return position } } },
    }
    for await (const event of client.iterate(payload)) {
      console.log(JSON.stringify(event.data))
      position = event.extensions.fanout.position
    }
  } catch (errors) {
    if (errors[0]?.extensions?.errorType !== 'PositionExpired') throw errors
    console.error('too much was missed, loading anew')
    position = await load()
  }
}
