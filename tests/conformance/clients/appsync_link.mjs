// aws-appsync-subscription-link in an Apollo client. It reports a lost connection to every observer and leaves
// subscribing again to the app, which is here.

import { apiKey, describe, drive, endpoint } from "./driver.mjs";
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client";
import { createSubscriptionHandshakeLink } from "aws-appsync-subscription-link";

const settings = { url: endpoint, region: "eu-west-1", auth: { type: "API_KEY", apiKey } };
const client = new ApolloClient({
  link: createSubscriptionHandshakeLink(settings, new HttpLink({ uri: endpoint })),
  cache: new InMemoryCache(),
});

await drive((query, variables, observer) => {
  let isWanted = true;
  let subscription;
  const fail = (error) => {
    // The link's errors are plain objects, which Apollo Client 4 wraps.
    const text = error.cause?.errors?.map((each) => each.message).join("; ") ?? describe(error);
    if (text !== "Connection closed") return observer.error({ message: text });
    setTimeout(() => isWanted && start(), 200);
  };
  const start = () => {
    subscription = client
      .subscribe({ query: gql(query), variables, fetchPolicy: "no-cache" })
      // Apollo Client 4 hands errors to `next`, in the result.
      .subscribe({ next: (result) => (result.error ? fail(result.error) : observer.next(result)), error: fail });
  };
  start();
  return () => {
    isWanted = false;
    subscription.unsubscribe();
  };
});
