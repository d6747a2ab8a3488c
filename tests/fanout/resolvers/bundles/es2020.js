var __defProp = Object.defineProperty;
var __defNormalProp = (obj, key, value) => key in obj ? __defProp(obj, key, { enumerable: true, configurable: true, writable: true, value }) : obj[key] = value;
var __publicField = (obj, key, value) => __defNormalProp(obj, typeof key !== "symbol" ? key + "" : key, value);

// src/createMessage.ts
import { util as util2, runtime as flow } from "@aws-appsync/utils";

// src/rules.ts
import { util } from "@aws-appsync/utils";
var MAX_LENGTH = 2e3;
var SPACES = /\s+/g;
var QUOTED = /["'`\/]/;
var _Rule = class _Rule {
  constructor(name, holds) {
    __publicField(this, "name", name);
    __publicField(this, "holds", holds);
    _Rule.names.push(name);
  }
  check(text) {
    if (!this.holds(text)) util.error(`"${text.slice(0, 10)}" breaks ${`the rule ${this.name}`}`, "Invalid");
  }
};
__publicField(_Rule, "names", []);
var Rule = _Rule;
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
//# sourceMappingURL=data:application/json;base64,ewogICJ2ZXJzaW9uIjogMywKICAic291cmNlcyI6IFsiLi4vLi4vLi4vLi4vLi4vLi4vcnRfZXMvc3JjL2NyZWF0ZU1lc3NhZ2UudHMiLCAiLi4vLi4vLi4vLi4vLi4vLi4vcnRfZXMvc3JjL3J1bGVzLnRzIl0sCiAgIm1hcHBpbmdzIjogIjs7Ozs7QUFBQSxTQUFTLFFBQUFBLE9BQU0sV0FBVyxZQUFZOzs7QUNBdEMsU0FBUyxZQUFZO0FBR2QsSUFBTSxhQUFhO0FBRTFCLElBQU0sU0FBUztBQUNmLElBQU0sU0FBUztBQUVSLElBQU0sUUFBTixNQUFNLE1BQUs7QUFBQSxFQUVoQixZQUFxQixNQUErQixPQUFrQztBQUFqRTtBQUErQjtBQUNsRCxVQUFLLE1BQU0sS0FBSyxJQUFJO0FBQUEsRUFDdEI7QUFBQSxFQUNBLE1BQU0sTUFBb0I7QUFDeEIsUUFBSSxDQUFDLEtBQUssTUFBTSxJQUFJLEVBQUcsTUFBSyxNQUFNLElBQUksS0FBSyxNQUFNLEdBQUcsRUFBRSxDQUFDLFlBQVksWUFBWSxLQUFLLElBQUksRUFBRSxJQUFJLFNBQVM7QUFBQSxFQUN6RztBQUNGO0FBUEUsY0FEVyxPQUNLLFNBQWtCLENBQUM7QUFEOUIsSUFBTSxPQUFOO0FBVUEsSUFBTSxVQUFVLENBQUMsU0FBeUIsS0FBSyxLQUFLLEVBQUUsUUFBUSxRQUFRLEdBQUc7QUFDekUsSUFBTSxRQUFRLENBQUMsU0FBMEIsS0FBSyxTQUFTLEtBQUssTUFBTSxNQUFNLEVBQUUsU0FBUyxLQUFLLFNBQVMsSUFBSTtBQUNyRyxJQUFNLFFBQVE7QUFBQSxFQUNuQixJQUFJLEtBQUssYUFBYSxDQUFDLFNBQVMsU0FBUyxFQUFFO0FBQUEsRUFDM0MsSUFBSSxLQUFLLGdCQUFnQixDQUFDLFNBQVMsS0FBSyxVQUFVLFVBQVU7QUFDOUQ7OztBRGpCTyxTQUFTLFFBQVEsS0FBVTtBQUNoQyxRQUFNLEVBQUUsUUFBUSxTQUFTLFFBQVEsTUFBTSxJQUFJLElBQUksS0FBSztBQUNwRCxRQUFNLE9BQU8sUUFBUSxPQUFPO0FBQzVCLE1BQUksTUFBTyxNQUFLLFlBQVksRUFBRSxRQUFRLFNBQVMsTUFBTSxNQUFNLHNCQUFzQixVQUFVLE1BQU0sQ0FBQztBQUNsRyxhQUFXLFFBQVEsTUFBTyxNQUFLLE1BQU0sSUFBSTtBQUN6QyxTQUFPLEVBQUUsU0FBUyxFQUFFLElBQUlDLE1BQUssYUFBYSxJQUFJLEdBQUcsUUFBUSxTQUFTLE1BQU0sT0FBTyxNQUFNLElBQUksRUFBRSxFQUFFO0FBQy9GO0FBRU8sSUFBTSxXQUFXLENBQUMsUUFBYSxJQUFJLFVBQVU7IiwKICAibmFtZXMiOiBbInV0aWwiLCAidXRpbCJdCn0K
