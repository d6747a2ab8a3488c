// util.error, util.appendError, util.unauthorized; runtime.earlyReturn.
// Source: AppSync developer guide, "Error helpers in util" and "Runtime features: runtime utilities".
(host, util, extensions, runtime) => {
  "use strict";
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
