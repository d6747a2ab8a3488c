// What parts ask of values that they are given, and how they say that they are misused: adds isNull, isObject, pick,
// kindOf, refuse and refuseOthers to the host.
(host) => {
  "use strict";

  host.isNull = (value) => value === null || value === undefined;
  // As JSON and GraphQL have objects.
  host.isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  // What a table of the library has by a name that may be anybody's: "constructor" is in none.
  host.pick = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);

  host.kindOf = (value) => {
    if (host.isNull(value)) return String(value);
    if (Array.isArray(value)) return "a list";
    // Nothing of the value itself is asked for words: its toString is not ours.
    if (typeof value === "boolean" || (typeof value === "number" && !Number.isFinite(value))) return String(value);
    return typeof value === "object" ? "an object" : `a ${typeof value}`;
  };
  // A resolver's mistake: the owner reads it in the log, with file and line; the client is told nothing of it.
  host.refuse = (name, wanted, value) => {
    throw new TypeError(`${name} takes ${wanted}, not ${host.kindOf(value)}`);
  };
  // A replacer for JSON.stringify, which by itself makes null of Infinity and leaves out functions.
  const JSON_KINDS = ["undefined", "string", "boolean", "object"];
  host.refuseOthers = (name) => (key, value) => {
    if (!JSON_KINDS.includes(typeof value) && !Number.isFinite(value)) {
      host.refuse(key === "" ? name : `${name}: '${key}'`, "what JSON can say", value);
    }
    return value;
  };
}
