import { util } from '@aws-appsync/utils';

const MAX_LENGTH = 2000;

// Checks and trims what the client sent, and stamps what it cannot say itself.
export function request(ctx) {
  const { roomId, author, content } = ctx.args.input;
  const text = content.trim();
  if (text === '') {
    util.error('A message has content.', 'ValidationError', null, { field: 'content' });
  }
  if (text.length > MAX_LENGTH) {
    util.error(`A message has at most ${MAX_LENGTH} characters.`, 'ValidationError', null, { field: 'content' });
  }
  return {
    payload: {
      id: util.autoId(),
      roomId,
      author: ctx.identity?.username ?? ctx.identity?.sub ?? author,
      content: text,
      createdAt: util.time.nowISO8601(),
    },
  };
}

export function response(ctx) {
  return ctx.result;
}
