// There is no store behind this example: any id is a room.
export function request(ctx) {
  return { payload: { id: ctx.args.id } };
}

export function response(ctx) {
  return ctx.result;
}
