import { extensions, util } from '@aws-appsync/utils';

// Runs once, when a client subscribes: what it is to receive, and what ends its subscription.
export function request(ctx) {
  if (ctx.args.roomId.trim() === '') {
    util.error('Which room? roomId is empty.', 'ValidationError');
  }
  return { payload: null };
}

export function response(ctx) {
  const { roomId } = ctx.args;
  const wanted = { roomId: { eq: roomId }, content: { ne: '' } };
  extensions.setSubscriptionFilter(util.transform.toSubscriptionFilter(wanted));
  extensions.setSubscriptionInvalidationFilter(util.transform.toSubscriptionFilter({ roomId: { eq: roomId } }));
  return null;
}
