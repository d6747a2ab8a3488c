// A field of a type: ctx.source is the message that it is asked of.
export function request(ctx) {
  return { payload: { id: ctx.source.roomId } };
}

export function response(ctx) {
  return ctx.result;
}
