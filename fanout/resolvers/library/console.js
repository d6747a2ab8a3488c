// console: lines for the host's log, bounded, and without what the client came in by: adds console,
// note and hideIn to the host.
// AppSync's developer guide documents `log` and `error`, and AppSync takes code with the others.
(host) => {
  "use strict";
  const { JSON } = globalThis;
  const MAX_LINES = 50, MAX_LENGTH = 2000;
  // `console.log(ctx)` is what everybody writes, and its headers hold credentials.
  const CREDENTIALS = ["authorization", "proxy-authorization", "x-api-key", "x-amz-security-token", "cookie"];
  const SHORTEST_CREDENTIAL = 8;
  const hideCredentials = (key, value) =>
    typeof value === "string" && CREDENTIALS.includes(key.toLowerCase()) ? "****" : value;
  // The client's own, wherever they stand: in JSON text of a resolver's making, for instance.
  host.hideIn = (text) => {
    const headers = host.context.request?.headers ?? {};
    for (const name of CREDENTIALS) {
      const value = headers[name];
      if (typeof value === "string" && value.length >= SHORTEST_CREDENTIAL) text = text.replaceAll(value, "****");
    }
    return text;
  };

  const show = (value) => {
    if (typeof value === "string") return value;
    try {
      return String(JSON.stringify(value, hideCredentials));
    } catch (thrown) {
      if (host.endsCall(thrown)) throw thrown;
      return `[${typeof value}]`;
    }
  };

  // Lines beyond the most that a call may write are left out.
  host.note = (level, values) => {
    const { logs } = host.call;
    if (logs.length >= MAX_LINES) return;
    let text = "";
    for (let index = 0; index < values.length && text.length < MAX_LENGTH; index += 1) {
      text += (index ? " " : "") + host.hideIn(show(values[index]));
    }
    logs.push([level, text.slice(0, MAX_LENGTH)]);
  };
  host.console = {
    debug: (...values) => host.note("debug", values),
    log: (...values) => host.note("log", values),
    info: (...values) => host.note("info", values),
    warn: (...values) => host.note("warn", values),
    error: (...values) => host.note("error", values),
  };
}
