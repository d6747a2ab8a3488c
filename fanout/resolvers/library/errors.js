// util.error, util.appendError, util.unauthorized; runtime.earlyReturn. And how the library says that it is misused.
// Source: AppSync developer guide, "Error helpers in util" and "Runtime features: runtime utilities".
(host, util, extensions, runtime) => {
  "use strict";
  const { Array, String, TypeError } = globalThis;

  host.kindOf = (value) => {
    if (value === null || value === undefined) return String(value);
    if (Array.isArray(value)) return "a list";
    return { object: "an object", boolean: String(value) }[typeof value] ?? `a ${typeof value}`;
  };
  // A resolver's mistake: the owner reads it in the log, with file and line; the client is told nothing of it.
  host.refuse = (name, wanted, value) => {
    throw new TypeError(`${name} takes ${wanted}, not ${host.kindOf(value)}`);
  };

  util.error = (message, errorType, data, errorInfo) => {
    throw new host.UtilError(message, errorType, data, errorInfo);
  };
  util.appendError = (message, errorType, data, errorInfo) => {
    host.call.errors.push(host.describe(new host.UtilError(message, errorType, data, errorInfo)));
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
