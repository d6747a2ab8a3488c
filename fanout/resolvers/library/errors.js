// util.error, util.appendError, util.unauthorized; runtime.earlyReturn. And how the library says that it is misused.
// Source: AppSync developer guide, "Error helpers in util" and "Runtime features: runtime utilities".
(host, util, extensions, runtime) => {
  "use strict";
  const { Array, JSON, Number, String, TypeError } = globalThis;

  host.kindOf = (value) => {
    if (value === null || value === undefined) return String(value);
    if (Array.isArray(value)) return "a list";
    // Nothing of the value itself is asked for words: its toString is not ours.
    if (typeof value === "boolean" || (typeof value === "number" && !Number.isFinite(value))) return String(value);
    return typeof value === "object" ? "an object" : `a ${typeof value}`;
  };
  // A resolver's mistake: the owner reads it in the log, with file and line; the client is told nothing of it.
  host.refuse = (name, wanted, value) => {
    throw new TypeError(`${name} takes ${wanted}, not ${host.kindOf(value)}`);
  };
  // A replacer for JSON.stringify, which by itself makes null of Infinity and leaves out functions.
  const JSON_KINDS = ["undefined", "string", "boolean", "object"];
  host.refuseOthers = (name) => (key, value) => {
    if (!JSON_KINDS.includes(typeof value) && !Number.isFinite(value)) {
      host.refuse(key === "" ? name : `${name}: '${key}'`, "what JSON can say", value);
    }
    return value;
  };

  // Objects are written as JSON: an HTTP body or a code is given as it came.
  const toText = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : value);
  const make = (message, errorType, data, errorInfo) =>
    new host.UtilError(toText(message), toText(errorType), data, errorInfo);

  util.error = (...details) => {
    throw make(...details);
  };
  util.appendError = (...details) => {
    host.call.errors.push(host.describe(make(...details)));
  };
  util.unauthorized = () => {
    const { fieldName, parentTypeName } = host.context.info;
    throw new host.UtilError(`Not Authorized to access ${fieldName} on type ${parentTypeName}`, "Unauthorized");
  };
  runtime.earlyReturn = (value, options) => {
    // Where nothing is said it depends on the stage, which the host knows.
    const skipTo = options?.skipTo;
    throw new host.EarlyReturn(value, skipTo === "NEXT" || skipTo === "END" ? skipTo : null);
  };
}
