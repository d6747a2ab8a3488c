// What every client here has in common: commands as JSON lines on standard input, what happens as JSON lines on
// standard output. Knows no GraphQL library.
//
//   in   {"do": "subscribe", "name": "a", "query": "...", "variables": {...}}
//        {"do": "unsubscribe", "name": "a"}             end of input: stop and exit
//   out  {"name": "a", "next": {...}} | {"name": "a", "error": "..."} | {"name": "a", "complete": true}

import { createInterface } from "node:readline";
import WebSocket from "ws";

export const endpoint = process.env.ENDPOINT; // http(s)://127.0.0.1:PORT/graphql
export const apiKey = process.env.API_KEY;

// Node has a WebSocket of its own from version 22 on; the libraries look for the browser's global.
globalThis.WebSocket ??= WebSocket;

export function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

/**
 * @param subscribe (query, variables, {next, error, complete}) => function that unsubscribes
 * @param close called before the process exits
 */
export async function drive(subscribe, close = () => {}) {
  const running = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const { name } = command;
    if (command.do === "subscribe") {
      const observer = {
        next: (value) => say({ name, next: value }),
        error: (error) => say({ name, error: describe(error) }),
        // Some libraries tell the end to whoever asked for it: that is no news.
        complete: () => running.has(name) && say({ name, complete: true }),
      };
      running.set(name, subscribe(command.query, command.variables, observer));
    } else {
      const unsubscribe = running.get(name);
      running.delete(name);
      unsubscribe();
    }
  }
  await close();
  process.exit(0);
}

// Amplify's client: a mutation is taken like a subscription, and ends after its answer.
export async function driveAmplify(client, options = {}) {
  await drive((query, variables, observer) => {
    const outcome = client.graphql({ query, variables, ...options });
    if (outcome instanceof Promise) {
      outcome.then(observer.next, observer.error);
      return () => {};
    }
    const subscription = outcome.subscribe(observer);
    return () => subscription.unsubscribe();
  });
}

export function describe(error) {
  return [error?.code, error?.reason, error?.message, JSON.stringify(error)].filter(Boolean).join(" ");
}
