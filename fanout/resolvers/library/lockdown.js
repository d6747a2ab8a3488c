// The last part: takes away what resolvers must not have, and freezes what they share with the library.
//
// Whatever can be reached and changed would carry something from one call to the next, that of another user. What can be
// reached is more than what has a name: prototypes of generators and iterators come out of syntax and methods.
(host, util, extensions, runtime) => {
  "use strict";
  const { Function, JSON } = globalThis;
  const KEPT = new Set([
    "Object", "Array", "String", "Number", "Boolean", "BigInt", "Symbol", "RegExp", "Map", "Set", "WeakMap", "WeakSet",
    "Iterator", "Math", "JSON", "Reflect", "globalThis", "Infinity", "NaN", "undefined", "parseInt", "parseFloat",
    "isNaN", "isFinite", "decodeURI", "decodeURIComponent", "encodeURI", "encodeURIComponent", "escape", "unescape",
    "Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError", "TypeError", "URIError", "InternalError",
    "AggregateError", "SuppressedError",
  ]);
  const prototypeOf = Reflect.getPrototypeOf;
  const functions = [() => 0, function* () { }, async () => { }, async function* () { }].map(prototypeOf);
  const errors = Reflect.ownKeys(globalThis).map((name) => globalThis[name])
    .filter((value) => typeof value === "function" && (value === Error || prototypeOf(value) === Error));
  const unnamed = [
    [].values(), "".matchAll(/a/g), ""[Symbol.iterator](), new Map().values(), new Set().values(),
    [].values().map(() => 0), Iterator.from({ next() { } }), Iterator.concat?.([]) ?? [], (async () => { })(),
  ].map(prototypeOf);
  for (const name of Reflect.ownKeys(globalThis)) if (!KEPT.has(name)) delete globalThis[name];
  // AppSync's runtime has these, and has them so (guide, "Supported runtime features"): chance is what the host gave the
  // call, and text that is no JSON is read as blank text, since there is no `try`. The library goes on with JSON as it is.
  globalThis.Math.random = util.math.randomDouble;
  globalThis.JSON = {
    parse(text, reviver) {
      try {
        return JSON.parse(text, reviver);
      } catch (error) {
        if (error instanceof SyntaxError) return "";
        throw error;
      }
    },
    stringify: JSON.stringify,
    [Symbol.toStringTag]: "JSON",
  };
  // The types of @aws-appsync/utils declare these as global too, and AppSync takes code that imports nothing.
  Object.assign(globalThis, { util, extensions, runtime });
  delete Array.fromAsync;
  // Settings behind accessors, which freezing does not hold.
  delete Error.prepareStackTrace;
  delete Error.stackTraceLimit;

  // Functions lead to what makes functions from text.
  const refuse = function Function() { throw new TypeError("functions cannot be made from text"); };
  for (const prototype of functions) {
    Reflect.defineProperty(prototype, "constructor", { value: refuse, writable: false, configurable: false });
  }

  // A frozen property of a prototype could not be set on an object of the resolver's own either (`o.toString = f`), as
  // it can elsewhere. An accessor that sets it there lets it.
  const open = (prototype, names) => {
    for (const name of names) {
      const property = Reflect.getOwnPropertyDescriptor(prototype, name);
      if (property === undefined || !("value" in property) || !property.configurable) continue;
      const { value } = property;
      Reflect.defineProperty(prototype, name, {
        get() { return value; },
        set(next) {
          const made = { value: next, writable: true, enumerable: true, configurable: true };
          if (this === prototype) throw new TypeError(`'${String(name)}' is read-only`);
          Object.defineProperty(this, name, made);
        },
        enumerable: property.enumerable,
        configurable: false,
      });
    }
  };
  open(Object.prototype, Reflect.ownKeys(Object.prototype));
  open(Array.prototype, Reflect.ownKeys(Array.prototype).filter((name) => name !== "length"));
  open(Function.prototype, ["call", "apply", "bind", "toString"]);
  for (const { prototype } of errors) open(prototype, ["constructor", "name", "message", "toString"]);

  const seen = new Set();
  const waiting = [util, extensions, runtime, host.console, ...host.thrown, globalThis, ...functions, ...unnamed];
  const add = (value) => {
    if (value !== null && (typeof value === "object" || typeof value === "function") && !seen.has(value)) {
      seen.add(value);
      waiting.push(value);
    }
  };
  while (waiting.length) {
    const value = waiting.pop();
    Object.freeze(value);
    add(prototypeOf(value));
    const keys = Reflect.ownKeys(value);
    // A function's name and length lead nowhere; most of what there is are such.
    if (typeof value === "function" && keys.length === 2) continue;
    for (const key of keys) {
      const property = Reflect.getOwnPropertyDescriptor(value, key);
      add(property.value);
      add(property.get);
      add(property.set);
    }
  }
}
