// A room that was not given a title has one anyway.
export function request(ctx) {
  return { payload: ctx.source.title ?? `Room ${ctx.source.id}` };
}

export function response(ctx) {
  return ctx.result;
}
