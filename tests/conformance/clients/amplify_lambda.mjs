// aws-amplify v6 with `lambda`: a token of the app's own goes along with each connection, subscription and request. A
// mutation is taken like a subscription, and ends after its answer.

import { driveAmplify, endpoint } from "./driver.mjs";
import { Amplify } from "aws-amplify";
import { generateClient } from "aws-amplify/api";

Amplify.configure({ API: { GraphQL: { endpoint, region: "eu-west-1", defaultAuthMode: "lambda" } } });
const client = generateClient();
const authToken = process.env.TOKEN;

await driveAmplify(client, { authToken });
