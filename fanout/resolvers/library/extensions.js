// extensions: what a resolver asks of subscriptions. The host checks filters and fields afterwards.
// Source: AppSync developer guide, "Extensions".
(host, util, extensions) => {
  "use strict";
  const { JSON } = globalThis;
  const MAX_INVALIDATIONS = 5;
  const copy = (value) => JSON.parse(JSON.stringify(value === undefined ? null : value));

  extensions.setSubscriptionFilter = (filter) => {
    host.call.extensions.filter = copy(filter);
  };
  extensions.setSubscriptionInvalidationFilter = (filter) => {
    host.call.extensions.invalidationFilter = copy(filter);
  };
  extensions.invalidateSubscriptions = (wish) => {
    const wishes = (host.call.extensions.invalidations ??= []);
    const text = JSON.stringify(copy(wish));
    if (wishes.some((other) => JSON.stringify(other) === text)) return;
    if (wishes.length === MAX_INVALIDATIONS) {
      util.error(`A request can invalidate subscriptions at most ${MAX_INVALIDATIONS} times.`, "BadRequest");
    }
    wishes.push(JSON.parse(text));
  };
  // There is no cache in front of resolvers: nothing to evict.
  extensions.evictFromApiCache = () => null;
}
