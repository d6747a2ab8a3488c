// aws-amplify v6 with `iam`: it signs connections, subscriptions and requests with AWS Signature Version 4. A mutation
// is taken like a subscription, and ends after its answer.

import { driveAmplify, endpoint } from "./driver.mjs";
import { Amplify } from "aws-amplify";
import { generateClient } from "aws-amplify/api";

const { ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, REGION } = process.env;
const credentials = { accessKeyId: ACCESS_KEY_ID, secretAccessKey: SECRET_ACCESS_KEY, sessionToken: SESSION_TOKEN };

Amplify.configure(
  { API: { GraphQL: { endpoint, region: REGION, defaultAuthMode: "iam" } } },
  {
    Auth: {
      credentialsProvider: {
        getCredentialsAndIdentityId: async () => ({ credentials }),
        clearCredentialsAndIdentityId: () => {},
      },
    },
  },
);
const client = generateClient();

await driveAmplify(client);
