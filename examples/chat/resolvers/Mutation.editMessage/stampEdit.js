import { util } from '@aws-appsync/utils';

// ctx.prev.result is what the function before gave: the text.
export function request(ctx) {
  const { id, roomId } = ctx.args.input;
  const editedAt = util.time.nowISO8601();
  return { payload: { id, roomId, content: ctx.prev.result, editedAt } };
}

export function response(ctx) {
  return ctx.result;
}
