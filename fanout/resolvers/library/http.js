// util.http: headers to send on, and headers of the response.
// Source: AppSync developer guide, "HTTP helpers in util.http".
(host, util) => {
  "use strict";
  const { JSON } = globalThis;
  // RFC 9110, section 7.6.1 and what is about the client's own connection: not sent on.
  const RESTRICTED = new Set([
    "transfer-encoding", "connection", "host", "expect", "keep-alive", "upgrade", "proxy-authenticate",
    "proxy-authorization", "te", "content-length",
  ]);
  // Set by the gateway itself.
  const OF_THE_RESPONSE = new Set([
    "access-control-allow-credentials", "access-control-allow-origin", "access-control-expose-headers",
    "access-control-max-age", "access-control-allow-methods", "access-control-allow-headers", "vary", "content-type",
    "content-encoding", "date", "server", "trailer",
  ]);
  const MAX_BYTES = 4096;
  // RFC 9110, sections 5.1 and 5.5; a line break would begin another header.
  const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
  const VALUE = /^[\t\x20-\x7e]*$/;

  const explain = (name, value) => {
    if (typeof name !== "string" || !NAME.test(name)) return "is not the name of a header";
    const lower = name.toLowerCase();
    if (RESTRICTED.has(lower) || OF_THE_RESPONSE.has(lower) || /^x-amzn?-/.test(lower)) return "is restricted";
    if (host.isNull(value)) return "has no value";
    return null;
  };

  // Wrong ones are left out and said among the operation's errors; the resolver goes on.
  const add = (name, value) => {
    let reason = explain(name, value);
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    if (reason === null && !VALUE.test(text)) reason = "has a value with other characters than printable ASCII";
    const { call } = host;
    const size = reason === null ? (call.headerBytes ?? 0) + name.length + text.length : 0;
    if (size > MAX_BYTES) reason = `is left out: headers of the response hold at most ${MAX_BYTES} bytes`;
    if (reason !== null) {
      const shown = JSON.stringify(name) ?? "without a name";
      util.appendError(`The response header ${shown} ${reason}.`, "ResponseHeaderError");
      return;
    }
    call.headerBytes = size;
    const headers = (call.extensions.responseHeaders ??= {});
    for (const other of Object.keys(headers)) if (other.toLowerCase() === name.toLowerCase()) delete headers[other];
    // As a property of its own, whatever its name is.
    Object.defineProperty(headers, name, { value: text, enumerable: true, writable: true, configurable: true });
  };

  const listHeaders = (name, headers) => {
    if (host.isNull(headers)) return [];
    if (!host.isObject(headers)) host.refuse(name, "an object of headers", headers);
    return Object.entries(headers);
  };

  util.http = {
    copyHeaders: (headers) => Object.fromEntries(
      listHeaders("util.http.copyHeaders", headers).filter(([name]) => !RESTRICTED.has(name.toLowerCase())),
    ),
    addResponseHeader: add,
    addResponseHeaders: (headers) => {
      for (const [name, value] of listHeaders("util.http.addResponseHeaders", headers)) add(name, value);
    },
  };
}
