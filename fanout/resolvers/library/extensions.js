// extensions: what a resolver asks of subscriptions. The host checks filters and fields afterwards.
// Source: AppSync developer guide, "Extensions".
(host, util, extensions) => {
  "use strict";
  const { JSON } = globalThis;
  const MAX_INVALIDATIONS = 5;

  // What the resolver does with the object later is no longer ours; what JSON cannot say is refused here and now.
  const copyObject = (name, value) => {
    const text = typeof value === "object" ? JSON.stringify(value, host.refuseOthers(name)) : undefined;
    if (text === undefined || text[0] !== "{") host.refuse(name, "an object", value);
    return JSON.parse(text);
  };

  // Null is what toSubscriptionFilter makes of a filter that a client left out: there is none then.
  const setFilter = (key, name) => (filter) => {
    host.call.extensions[key] = filter === null ? null : copyObject(name, filter);
  };
  extensions.setSubscriptionFilter = setFilter("filter", "extensions.setSubscriptionFilter");
  extensions.setSubscriptionInvalidationFilter =
    setFilter("invalidationFilter", "extensions.setSubscriptionInvalidationFilter");
  extensions.invalidateSubscriptions = (wish) => {
    const { subscriptionField, payload } = copyObject("extensions.invalidateSubscriptions", wish);
    if (typeof subscriptionField !== "string" || subscriptionField === "") {
      host.refuse("extensions.invalidateSubscriptions: subscriptionField", "the name of a field", subscriptionField);
    }
    const checked = { subscriptionField, payload: copyObject("extensions.invalidateSubscriptions: payload", payload) };
    const wishes = (host.call.extensions.invalidations ??= []);
    const text = JSON.stringify(checked);
    if (wishes.some((other) => JSON.stringify(other) === text)) return;
    if (wishes.length === MAX_INVALIDATIONS) {
      util.error(`A request can invalidate subscriptions at most ${MAX_INVALIDATIONS} times.`, "BadRequest");
    }
    wishes.push(checked);
  };
  // There is no cache in front of resolvers: nothing to evict, and the response says nothing of evicted entries.
  extensions.evictFromApiCache = () => ({});
}
