// npm graphql-ws: the graphql-transport-ws protocol. It reconnects and subscribes again by itself.

import { createClient } from "graphql-ws";
import { apiKey, drive, endpoint } from "./driver.mjs";

const client = createClient({
  url: endpoint.replace(/^http/, "ws"),
  connectionParams: { "x-api-key": apiKey },
  // As many attempts as a restart takes, in quick succession: by default it waits for seconds.
  retryAttempts: 100,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 100)),
  // By default only a close is worth another try, and with Node's WebSocket a refused connection is an error event.
  // Without this also 4403 would be tried again, although wrong credentials stay wrong.
  shouldRetry: (problem) => problem.code !== 4403,
});

await drive((query, variables, observer) => client.subscribe({ query, variables }, observer), () => client.dispose());
