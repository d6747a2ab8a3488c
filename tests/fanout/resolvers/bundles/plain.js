// src/createMessage.ts
import { util as util2, runtime as flow } from "@aws-appsync/utils";

// src/rules.ts
import { util } from "@aws-appsync/utils";
var MAX_LENGTH = 2e3;
var SPACES = /\s+/g;
var QUOTED = /["'`\/]/;
var Rule = class _Rule {
  constructor(name, holds) {
    this.name = name;
    this.holds = holds;
    _Rule.names.push(name);
  }
  name;
  holds;
  static names = [];
  check(text) {
    if (!this.holds(text)) util.error(`"${text.slice(0, 10)}" breaks ${`the rule ${this.name}`}`, "Invalid");
  }
};
var squeeze = (text) => text.trim().replace(SPACES, " ");
var share = (text) => text.length ? text.split(QUOTED).length / text.length / 2 : 0;
var RULES = [
  new Rule("not empty", (text) => text !== ""),
  new Rule("not too long", (text) => text.length <= MAX_LENGTH)
];

// src/createMessage.ts
function request(ctx) {
  const { roomId, content, draft = false } = ctx.args.input;
  const text = squeeze(content);
  if (draft) flow.earlyReturn({ roomId, content: text, note: `export { draft as "${MAX_LENGTH}" }` });
  for (const rule of RULES) rule.check(text);
  return { payload: { id: util2.base64Encode(text), roomId, content: text, share: share(text) } };
}
var response = (ctx) => ctx.result ?? null;
export {
  request,
  response
};
