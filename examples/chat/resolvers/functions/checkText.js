import { util } from '@aws-appsync/utils';

// Shared by pipelines: takes ctx.stash.text and ctx.stash.maxLength, gives the trimmed text.
export function request(ctx) {
  const { text, maxLength } = ctx.stash;
  const trimmed = text.trim();
  if (trimmed === '') {
    util.error('The text is empty.', 'ValidationError');
  }
  if (trimmed.length > maxLength) {
    util.error(`The text has more than ${maxLength} characters.`, 'ValidationError');
  }
  return { payload: trimmed };
}

export function response(ctx) {
  return ctx.result;
}
