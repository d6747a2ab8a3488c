// AWS's own linter for APPSYNC_JS: what it refuses, AppSync refuses when a resolver is saved. Each rule that it has is on.

import plugin from "@aws-appsync/eslint-plugin";
import parser from "@typescript-eslint/parser";

const { RESOLVERS } = process.env; // the folder that is looked at, with a tsconfig.json in it

export default [
  {
    files: ["**/*.js"],
    languageOptions: { parser, parserOptions: { project: "tsconfig.json", tsconfigRootDir: RESOLVERS } },
    plugins: { "@aws-appsync": plugin },
    rules: Object.fromEntries(Object.keys(plugin.rules).map((name) => [`@aws-appsync/${name}`, "error"])),
  },
];
