import { util, type Context, type NONERequest } from '@aws-appsync/utils';
import { checkText, type Limits } from './lib/text';

type Arguments = { input: { roomId: string; content?: string | null; author?: string | null } };
type Message = { id: string; roomId: string; content: string; author: string | null; createdAt: string };

const CONTENT: Limits = { field: 'content', maxLength: 100 };

export function request(ctx: Context<Arguments>): NONERequest {
  const { roomId, content, author } = ctx.args.input;
  const payload: Message = {
    id: util.autoId(),
    roomId,
    content: checkText(content, CONTENT),
    author: author ?? null,
    createdAt: util.time.nowISO8601(),
  };
  return { payload };
}

export const response = (ctx: Context<Arguments, object, object, object, Message>): Message => ctx.result;
