import { extensions, util, type Context } from '@aws-appsync/utils';
import { checkText } from './lib/text';

type Arguments = { roomId: string };

export const request = (_: Context<Arguments>) => ({ payload: null });

export const response = (ctx: Context<Arguments>) => {
  const roomId = checkText(ctx.args.roomId, { field: 'roomId', maxLength: 20 });
  extensions.setSubscriptionFilter(util.transform.toSubscriptionFilter({ roomId: { eq: roomId }, content: { ne: '' } }));
  return null;
};
