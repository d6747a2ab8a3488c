// The last part: takes away what resolvers must not have, and freezes what they share with the library.
(host, util, extensions, runtime) => {
  "use strict";
  const { Object, Reflect } = globalThis;
  const REMOVED = [
    "Date", "eval", "Function", "queueMicrotask", "performance", "SharedArrayBuffer", "Atomics",
    "WeakRef", "FinalizationRegistry",
  ];
  for (const name of REMOVED) delete globalThis[name];
  delete globalThis.Math.random;

  const frozen = new Set();
  const freeze = (value) => {
    if ((typeof value !== "object" && typeof value !== "function") || value === null || frozen.has(value)) return;
    frozen.add(value);
    Object.freeze(value);
    freeze(Reflect.getPrototypeOf(value));
    for (const key of Reflect.ownKeys(value)) {
      const property = Reflect.getOwnPropertyDescriptor(value, key);
      freeze(property.value);
      freeze(property.get);
      freeze(property.set);
    }
  };
  for (const value of [util, extensions, runtime, host.console, globalThis]) freeze(value);
}
