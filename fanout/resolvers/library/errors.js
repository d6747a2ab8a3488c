// util.error, util.appendError, util.unauthorized; runtime.earlyReturn.
// Source: AppSync developer guide, "Error helpers in util" and "Runtime features: runtime utilities".
(host, util, extensions, runtime) => {
  "use strict";
  const { JSON } = globalThis;

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
