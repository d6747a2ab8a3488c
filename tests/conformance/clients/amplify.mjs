// aws-amplify v6 as an app uses it. It reconnects and subscribes again by itself, 5 seconds after a close.
// It always connects with wss, so the service has to be served with TLS.

import { apiKey, driveAmplify, endpoint } from "./driver.mjs";
import { Amplify } from "aws-amplify";
import { generateClient } from "aws-amplify/api";

Amplify.configure({
  API: { GraphQL: { endpoint, region: "eu-west-1", defaultAuthMode: "apiKey", apiKey } },
});
const client = generateClient();

await driveAmplify(client);
