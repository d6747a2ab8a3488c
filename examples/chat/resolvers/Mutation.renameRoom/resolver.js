export function request(ctx) {
  ctx.stash.text = ctx.args.title;
  ctx.stash.maxLength = 80;
  return {};
}

export function response(ctx) {
  return { id: ctx.args.id, title: ctx.prev.result };
}
