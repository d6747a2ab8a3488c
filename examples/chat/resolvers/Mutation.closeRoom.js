import { extensions, util } from '@aws-appsync/utils';

// Of users with tokens of a user pool only moderators may; the API key is for trying things out.
export function request(ctx) {
  if (util.authType() === 'User Pool Authorization') {
    const groups = ctx.identity.groups ?? [];
    if (groups.indexOf(ctx.env.MODERATORS) === -1) {
      util.unauthorized();
    }
  }
  return { payload: { id: ctx.args.roomId } };
}

export function response(ctx) {
  extensions.invalidateSubscriptions({
    subscriptionField: 'onCreateMessage',
    payload: { roomId: ctx.args.roomId },
  });
  return ctx.result;
}
