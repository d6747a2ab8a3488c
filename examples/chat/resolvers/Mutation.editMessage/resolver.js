// A pipeline: request runs before its functions, response after them.
export function request(ctx) {
  ctx.stash.text = ctx.args.input.content;
  ctx.stash.maxLength = 2000;
  return {};
}

export function response(ctx) {
  return ctx.prev.result;
}
