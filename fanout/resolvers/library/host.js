// What the parts of the library stand on, and the one way in. See sandbox.py, which evaluates this first.
//
// Parts are arrow functions `(host, util, extensions, runtime) => {...}` that add to util, extensions and runtime when
// the context is made. What they need of JavaScript's own objects that resolvers must not have (Date, Math.random)
// they take when they are made: `lockdown.js`, the last part, removes those and freezes everything.
(parts) => {
  "use strict";
  const { JSON, Error, Function, InternalError, RangeError, Promise, String, Map, Object } = globalThis;
  const util = {}, extensions = {}, runtime = {};

  // All state of a call is here and is new for each.
  let call = null;

  class Ask { }
  class UtilError {
    constructor(message, type, data, errorInfo) {
      this.message = message;
      this.type = type;
      this.data = data;
      this.errorInfo = errorInfo;
    }
  }
  class EarlyReturn {
    constructor(value, skipTo) {
      this.value = value;
      this.skipTo = skipTo;
    }
  }

  const STACK_OVERFLOW = "Maximum call stack size exceeded";
  const MAX_LOGS = 50, MAX_LOG_LENGTH = 2000;
  const note = (level, values) => {
    if (call.logs.length >= MAX_LOGS) return;
    const text = values.map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" ");
    call.logs.push([level, text.slice(0, MAX_LOG_LENGTH)]);
  };

  const host = {
    UtilError,
    EarlyReturn,
    // Answers that hold for ever, by question; kept with the context.
    known: new Map(),
    // What resolvers see as `console`; lines are bounded, the rest is counted.
    console: {
      log: (...values) => note("log", values),
      error: (...values) => note("error", values),
    },
    get call() { return call; },
    get context() { return call.context; },
    // API_KEY, AMAZON_COGNITO_USER_POOLS, OPENID_CONNECT, AWS_IAM or AWS_LAMBDA.
    get authMode() { return call.authMode; },
    // Milliseconds since 1970, the same for the whole call.
    now() { return call.now; },
    // Ask the host. The call is given up and made again with the answer, so that callers see it come back at once.
    // Raises what the host says to be wrong, as the resolver's error.
    ask(kind, ...details) {
      const key = JSON.stringify([kind, ...details]);
      const answer = call.answers[key];
      if (answer === undefined) {
        call.questions.push(key);
        throw new Ask();
      }
      if (answer.error !== undefined) throw new UtilError(answer.error, answer.type ?? "BadRequest", null, null);
      return answer.value;
    },
    // The error's fields as the envelope has them; the same for thrown and appended ones.
    describe(error) {
      return {
        message: error.message === undefined || error.message === null ? null : String(error.message),
        type: error.type === undefined || error.type === null ? null : String(error.type),
        data: error.data === undefined ? null : error.data,
        info: error.errorInfo === undefined ? null : error.errorInfo,
      };
    },
  };

  for (const part of parts) part(host, util, extensions, runtime);

  const exported = { "@aws-appsync/utils": { util, extensions, runtime } };
  let factory = null;

  // The module's function body becomes its handlers anew for each call, so that nothing is left by one for the next.
  const load = (body) => {
    factory = new Function("__import", "console", '"use strict";\n' + body);
    call = { context: {}, questions: [], errors: [], logs: [], extensions: {}, answers: {}, now: 0 };
    const handlers = factory(importModule, host.console);
    return JSON.stringify(Object.keys(handlers).filter((name) => typeof handlers[name] === "function"));
  };
  const importModule = (name) => exported[name];

  const invoke = (handler, context) => {
    const value = factory(importModule, host.console)[handler](context);
    if (value instanceof Promise) throw new UtilError("A handler cannot be asynchronous.", "Code", null, null);
    return value === undefined ? null : value;
  };

  const run = (handler, context) => {
    if (handler !== "unit") return { value: invoke(handler, context) };
    // Both stages at once where nothing has to be fetched between them: data source NONE.
    const request = invoke("request", context);
    context.result = request === null || request.payload === undefined ? null : request.payload;
    return { value: invoke("response", context) };
  };

  // One stage of a resolver: JSON texts in, JSON text out. `extras`: now, entropy, answers.
  const enter = (handler, contextText, extrasText) => {
    const context = JSON.parse(contextText);
    context.args = context.arguments;
    // How the caller was let in, one of AuthMode's values: for the library only, no part of `ctx`.
    const authMode = context.__auth;
    delete context.__auth;
    call = { ...JSON.parse(extrasText), context, authMode, questions: [], errors: [], logs: [], extensions: {} };
    let outcome;
    try {
      outcome = run(handler, context);
    } catch (thrown) {
      if (thrown instanceof Ask) outcome = {};
      else if (thrown instanceof EarlyReturn) {
        outcome = { value: thrown.value === undefined ? null : thrown.value, early: thrown.skipTo };
      } else if (thrown instanceof UtilError) outcome = { error: host.describe(thrown) };
      else if (thrown instanceof InternalError) outcome = { limit: String(thrown.message) };
      else if (thrown instanceof RangeError && thrown.message === STACK_OVERFLOW) outcome = { limit: "stack" };
      else if (thrown instanceof Error) outcome = { failure: String(thrown), stack: String(thrown.stack) };
      else outcome = { failure: "thrown: " + String(thrown), stack: "" };
    }
    // A resolver that catches what it should not still gets its answers.
    if (call.questions.length) return JSON.stringify({ questions: call.questions });
    outcome.stash = context.stash;
    outcome.errors = call.errors;
    outcome.logs = call.logs;
    outcome.extensions = call.extensions;
    const text = JSON.stringify(outcome);
    call = null;
    return text;
  };

  return { load, enter };
}
