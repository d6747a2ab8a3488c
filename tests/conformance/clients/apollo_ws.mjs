// subscriptions-transport-ws 0.11: Apollo's old protocol, whose sub-protocol has the same name as AppSync's.
// It reconnects and subscribes again by itself when asked to.

import { apiKey, describe, drive, endpoint, say } from "./driver.mjs";
import { SubscriptionClient } from "subscriptions-transport-ws";

const client = new SubscriptionClient(endpoint.replace(/^http/, "ws"), {
  connectionParams: { "x-api-key": apiKey },
  reconnect: true,
  minTimeout: 1000,
  connectionCallback: (error) => error && say({ error: describe(error) }),
});

await drive(
  (query, variables, observer) => {
    const subscription = client.request({ query, variables }).subscribe(observer);
    return () => subscription.unsubscribe();
  },
  () => client.close(),
);
