// The peer `ws` for Node: a broadcast as its documentation shows it. NODE_PATH has to lead to the package.
// Every WebSocket is a subscriber, and the body of a POST is sent to all of them. Prints its URL once it listens.
"use strict";

const http = require("node:http");
const { WebSocketServer } = require("ws");

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  for (const client of sockets.clients) client.send(text);
  response.writeHead(204).end();
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () =>
  console.log(`ws on http://127.0.0.1:${server.address().port}`),
);
