// What the parts of the library stand on, and the one way in. See sandbox.py, which evaluates this first.
//
// Parts are arrow functions `(host, util, extensions, runtime) => {...}` that add to util, extensions and runtime when
// the context is made. What they need of JavaScript's own objects that resolvers must not have (Date), or have
// otherwise (JSON), they take when they are made: `lockdown.js`, the last part, removes those and freezes everything.
//
// A resolver's code runs wherever one of its objects is looked at: in toJSON, getters, toString. So whatever it gave or
// threw is only looked at where what that throws is caught.
(parts) => {
  "use strict";
  const { Function, JSON, Promise } = globalThis;
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

  // As QuickJS words them. Only these names of limits are ever told.
  const LIMITS = new Map([
    ["out of memory", "memory"],
    ["stack overflow", "stack"],
    ["Maximum call stack size exceeded", "stack"],
    ["interrupted", "time"],
  ]);
  const findLimit = (thrown) => {
    // Where there is no memory left for the error itself, QuickJS throws null.
    if (thrown === null) return "memory";
    if (!(thrown instanceof InternalError || thrown instanceof RangeError)) return undefined;
    try {
      return LIMITS.get(thrown.message);
    } catch {
      return undefined; // a resolver's own, which throws when it is looked at
    }
  };

  // What ends a call, whoever catches it.
  const endsCall = (thrown) => thrown instanceof Ask || findLimit(thrown) !== undefined;

  const host = {
    UtilError,
    EarlyReturn,
    // What resolvers can get at without being given it: by catching it.
    thrown: [Ask, UtilError, EarlyReturn],
    endsCall,
    get call() { return call; },
    get context() { return call.context; },
    // Milliseconds since 1970, the same for the whole call.
    now() { return call.now; },
    // Ask the host. The call is given up and made again with the answer, so that callers see it come back at once.
    // Raises what the host says to be wrong, as the resolver's error.
    ask(kind, ...details) {
      const key = write("a question", [kind, ...details]);
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
        message: host.isNull(error.message) ? null : String(error.message),
        type: host.isNull(error.type) ? null : String(error.type),
        data: error.data ?? null,
        info: error.errorInfo ?? null,
      };
    },
  };

  for (const part of parts) part(host, util, extensions, runtime);

  // JSON text of what a resolver gave. Half a surrogate pair, which JSON can say but UTF-8 cannot, becomes U+FFFD.
  const MAX_LENGTH = 5 * 1024 * 1024;
  const HALVES = /\\(?:ud[89a-f][0-9a-f]{2}|[^])/g;
  const isPlainError = (thrown) =>
    thrown instanceof TypeError && typeof thrown.stack === "string" && thrown.stack.startsWith("    at stringify (native)");
  const write = (name, value) => {
    let text;
    try {
      text = value === undefined ? "null" : JSON.stringify(value);
    } catch (thrown) {
      if (!isPlainError(thrown)) throw thrown;
      throw new TypeError(`${name} is no JSON: ${thrown.message}`);
    }
    if (text === undefined) throw new TypeError(`${name} is no JSON, but ${host.kindOf(value)}`);
    if (text.length > MAX_LENGTH) throw new RangeError(`${name} is larger than 5 MB`);
    if (!text.includes("\\ud")) return text;
    return text.replace(HALVES, (escape) => (escape.length === 2 ? escape : "\ufffd"));
  };

  const exported = Object.freeze({ __proto__: null, util, extensions, runtime });
  const importModule = Object.freeze(() => exported);
  let factory = null;
  const KINDS = new Map([
    [Object.getPrototypeOf(function* () { }), "a generator"],
    [Object.getPrototypeOf(async () => { }), "asynchronous"],
    [Object.getPrototypeOf(async function* () { }), "an asynchronous generator"],
  ]);

  // The module's function body becomes its handlers anew for each call, so that nothing is left by one for the next.
  // Returns like `enter` v and names, or q and what the module's top level asks; a top level that says an error fails.
  const load = (body, now, entropy, answersText) => {
    factory = new Function("__import", "console", '"use strict";\n' + body);
    const answers = answersText === "" ? {} : JSON.parse(answersText);
    call = { context: {}, questions: [], errors: [], logs: [], extensions: {}, answers, now, entropy };
    let handlers;
    try {
      handlers = factory(importModule, host.console);
    } catch (thrown) {
      if (thrown instanceof Ask) return "q" + JSON.stringify(call.questions);
      if (thrown instanceof UtilError) throw new Error(`the module's top level says: ${host.describe(thrown).message}`);
      throw thrown;
    }
    if (typeof handlers !== "object" || handlers === null) throw new SyntaxError("a module cannot return");
    const names = Object.keys(handlers).filter((name) => typeof handlers[name] === "function");
    for (const name of names) {
      const kind = KINDS.get(Object.getPrototypeOf(handlers[name]));
      if (kind !== undefined) throw new TypeError(`${name} is ${kind}, and has to be a simple function`);
    }
    return "v" + JSON.stringify(names);
  };

  const invoke = (handler, context) => {
    const value = factory(importModule, host.console)[handler](context);
    if (value instanceof Promise) throw new TypeError(`${handler} is asynchronous; resolvers cannot be`);
    return value;
  };

  // What only other kinds of data source take. NONE ignores it, as AppSync's does: code that came without its data
  // source would run, and give null.
  const OF_OTHER_SOURCES = ["operation", "resourcePath", "statements"];
  const warnOfOtherSource = (request) => {
    const found = request && OF_OTHER_SOURCES.find((name) => Object.hasOwn(request, name));
    if (!found) return;
    const what = typeof request[found] === "string" ? `${found} ${JSON.stringify(request[found])}` : found;
    host.note("warn", [`the request has ${what}, which the data source NONE ignores: set data_source for this module`]);
  };

  const run = (handler, context) => {
    if (handler !== "unit") return write(`what ${handler} returned`, invoke(handler, context));
    // Both stages at once where nothing has to be fetched between them: data source NONE. The request is written all
    // the same: what `response` gets is what JSON can say, as with any other data source.
    const request = JSON.parse(write("what request returned", invoke("request", context)));
    warnOfOtherSource(request);
    context.result = request?.payload ?? null;
    context.outErrors = [...(context.outErrors ?? []), ...call.errors.map(({ message, type }) => ({ message, type }))];
    return write("what response returned", invoke("response", context));
  };

  const fail = (failure, stack) => `"failure":${write("", host.hideIn(failure))},"stack":${write("", stack)}`;

  // What was thrown, as fields of the envelope.
  const MAX_FAILURE = 2000, MAX_STACK = 4000;
  const tell = (thrown) => {
    if (thrown instanceof EarlyReturn) {
      return `"value":${write("what was returned early", thrown.value)},"early":${JSON.stringify(thrown.skipTo)}`;
    }
    if (thrown instanceof UtilError) return `"error":${write("the error", host.describe(thrown))}`;
    if (!(thrown instanceof Error)) return fail("thrown: " + String(thrown).slice(0, MAX_FAILURE), "");
    const stack = thrown.stack;
    return fail(String(thrown).slice(0, MAX_FAILURE), typeof stack === "string" ? stack.slice(0, MAX_STACK) : "");
  };

  // What `make` returns, or what it throws, told; where telling throws too, that. Throws on: Ask, and limits.
  const attempt = (make) => {
    for (let tries = 0; tries < 3; tries += 1) {
      try {
        return make();
      } catch (thrown) {
        if (endsCall(thrown)) throw thrown;
        make = () => tell(thrown);
      }
    }
    return fail("what was thrown cannot be told", "");
  };

  // One stage of a resolver. `answers`: JSON text by question, empty for none.
  // Returns a letter and its text: v and the envelope as JSON, q and questions as JSON, l and the limit's name.
  const enter = (handler, contextText, now, entropy, answersText) => {
    const context = JSON.parse(contextText);
    context.args = context.arguments;
    // How the caller was let in, one of AuthMode's values: for the library only, no part of `ctx`.
    const authMode = context.__auth;
    delete context.__auth;
    const answers = answersText === "" ? {} : JSON.parse(answersText);
    call = { context, authMode, now, entropy, answers, questions: [], errors: [], logs: [], extensions: {} };
    let outcome = "", rest = "";
    try {
      outcome = attempt(() => `"value":${run(handler, context)}`);
      const failed = attempt(() => {
        rest = `,"stash":${write("ctx.stash", context.stash)},"errors":${write("an error's data", call.errors)}`
          + `,"extensions":${write("extensions", call.extensions)}`;
        return "";
      });
      if (failed) outcome = failed;
    } catch (thrown) {
      if (!(thrown instanceof Ask)) return "l" + findLimit(thrown);
    }
    // A resolver that catches what it should not still gets its answers.
    // Joined, not concatenated: long concatenations are ropes, which do not get through to Python.
    if (call.questions.length) return ["q", JSON.stringify(call.questions)].join("");
    return ["v{", outcome, rest, ',"logs":', write("", call.logs), "}"].join("");
  };

  return { load, enter };
}
