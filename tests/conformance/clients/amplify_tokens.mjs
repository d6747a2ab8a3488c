// aws-amplify v6 with `userPool` or `oidc`: it asks its token provider for each connection, subscription and request.
// The provider of an app would renew tokens; this one reads what the test has put into a file. A mutation is taken like
// a subscription, and ends after its answer.

import { readFileSync } from "node:fs";
import { driveAmplify, endpoint } from "./driver.mjs";
import { Amplify } from "aws-amplify";
import { generateClient } from "aws-amplify/api";
import { decodeJWT } from "@aws-amplify/core";

const { MODE, TOKEN_FILE } = process.env;

Amplify.configure(
  { API: { GraphQL: { endpoint, region: "eu-west-1", defaultAuthMode: MODE } } },
  {
    Auth: {
      tokenProvider: {
        getTokens: async () => ({ accessToken: decodeJWT(readFileSync(TOKEN_FILE, "utf-8")) }),
      },
    },
  },
);
const client = generateClient();

await driveAmplify(client);
