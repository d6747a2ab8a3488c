import { util, runtime as flow } from '@aws-appsync/utils';
import { MAX_LENGTH, RULES, share, squeeze } from './rules';

interface Input { roomId: string; content: string; draft?: boolean }
interface Ctx { args: { input: Input }; result?: unknown; stash: Record<string, unknown> }

export function request(ctx: Ctx) {
  const { roomId, content, draft = false } = ctx.args.input;
  const text = squeeze(content);
  if (draft) flow.earlyReturn({ roomId, content: text, note: `export { draft as "${MAX_LENGTH}" }` });
  for (const rule of RULES) rule.check(text);
  return { payload: { id: util.base64Encode(text), roomId, content: text, share: share(text) } };
}

export const response = (ctx: Ctx) => ctx.result ?? null;
