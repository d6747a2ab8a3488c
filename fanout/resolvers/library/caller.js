// util.authType: how the caller showed who it is.
// Source: AppSync developer guide, "Type and pattern matching utils"; it leaves Lambda's text out, which is the one
// that Amplify's resolvers compare with.
(host, util) => {
  "use strict";
  const NAMES = {
    API_KEY: "API Key Authorization",
    AWS_IAM: "IAM Authorization",
    AMAZON_COGNITO_USER_POOLS: "User Pool Authorization",
    OPENID_CONNECT: "Open ID Connect Authorization",
    AWS_LAMBDA: "Lambda Authorization",
  };
  util.authType = () => NAMES[host.call.authMode];
}
