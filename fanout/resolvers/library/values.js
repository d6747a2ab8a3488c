// util.isNull and its kin, util.defaultIf..., util.typeOf, util.validate, util.parseJson, util.toJson; util.list,
// util.map.
// AppSync documents them for its older templates only (developer guide, "Utility helpers in $util", "List helpers",
// "Map helpers"); here resolvers in JavaScript have them as well. `undefined` counts as null.
(host, util) => {
  "use strict";
  const { JSON } = globalThis;
  const { isNull } = host;
  const MAX_SORTED = 1000;
  const isNullOrEmpty = (value) => isNull(value) || value === "";
  const isNullOrBlank = (value) => isNull(value) || (typeof value === "string" && value.trim() === "");
  const typeOf = (value) => {
    if (isNull(value)) return "Null";
    if (Array.isArray(value)) return "List";
    switch (typeof value) {
      case "string": return "String";
      case "number": return "Number";
      case "boolean": return "Boolean";
      case "object": return "Map";
      default: return "Object";
    }
  };

  util.isNull = isNull;
  util.isNullOrEmpty = isNullOrEmpty;
  util.isNullOrBlank = isNullOrBlank;
  util.defaultIfNull = (value, fallback) => (isNull(value) ? fallback : value);
  util.defaultIfNullOrEmpty = (value, fallback) => (isNullOrEmpty(value) ? fallback : value);
  util.defaultIfNullOrBlank = (value, fallback) => (isNullOrBlank(value) ? fallback : value);
  util.typeOf = typeOf;
  util.isString = (value) => typeOf(value) === "String";
  util.isNumber = (value) => typeOf(value) === "Number";
  util.isBoolean = (value) => typeOf(value) === "Boolean";
  util.isList = (value) => typeOf(value) === "List";
  util.isMap = (value) => typeOf(value) === "Map";
  util.validate = (condition, message, errorType, data) => {
    if (!condition) util.error(message, errorType ?? "CustomTemplateException", data);
  };
  util.parseJson = (text) => {
    if (isNull(text)) return null;
    if (typeof text !== "string") host.refuse("util.parseJson", "a string", text);
    return JSON.parse(text);
  };
  util.toJson = (value) => JSON.stringify(value === undefined ? null : value);

  const equal = (one, other) => {
    if (one === other) return true;
    const type = typeOf(one);
    if (type !== typeOf(other)) return false;
    if (type === "List") return one.length === other.length && one.every((item, at) => equal(item, other[at]));
    if (type !== "Map") return type === "Null";
    const keys = Object.keys(one);
    return keys.length === Object.keys(other).length
      && keys.every((key) => Object.hasOwn(other, key) && equal(one[key], other[key]));
  };
  // Equal as Java's lists have it: by what is in them.
  const isIn = (items) => {
    const plain = new Set(items);
    return (value) => plain.has(value) || (typeof value === "object" && items.some((item) => equal(item, value)));
  };

  const checkLists = (name, ...lists) => {
    for (const list of lists) if (!Array.isArray(list)) host.refuse(name, "lists", list);
  };
  util.list = {
    copyAndRetainAll: (list, retained) => {
      checkLists("util.list.copyAndRetainAll", list, retained);
      return list.filter(isIn(retained));
    },
    copyAndRemoveAll: (list, removed) => {
      checkLists("util.list.copyAndRemoveAll", list, removed);
      const isRemoved = isIn(removed);
      return list.filter((item) => !isRemoved(item));
    },
    // A list of mixed types, or of more than 1000, comes back in its own order, as AppSync documents.
    sortList: (list, descending, property) => {
      checkLists("util.list.sortList", list);
      const copy = list.slice();
      if (copy.length > MAX_SORTED) return copy;
      const keyOf = copy.every((item) => typeOf(item) === "Map") ? (item) => item[property] : (item) => item;
      const types = new Set(copy.map((item) => typeOf(keyOf(item))));
      if (types.size !== 1 || !["String", "Number", "Boolean"].some((type) => types.has(type))) return copy;
      const order = descending ? -1 : 1;
      return copy.sort((one, other) => {
        const a = keyOf(one), b = keyOf(other);
        return a < b ? -order : a > b ? order : 0;
      });
    },
  };

  // Of the map's own keys; fromEntries makes "__proto__" one as well.
  const copyKeys = (map, isWanted) => Object.fromEntries(Object.entries(map).filter(([key]) => isWanted(key)));
  const check = (name, map, keys) => {
    if (typeOf(map) !== "Map") host.refuse(name, "an object and a list of keys", map);
    if (!Array.isArray(keys)) host.refuse(name, "an object and a list of keys", keys);
  };
  util.map = {
    copyAndRetainAllKeys: (map, retained) => {
      check("util.map.copyAndRetainAllKeys", map, retained);
      return copyKeys(map, isIn(retained));
    },
    copyAndRemoveAllKeys: (map, removed) => {
      check("util.map.copyAndRemoveAllKeys", map, removed);
      const isRemoved = isIn(removed);
      return copyKeys(map, (key) => !isRemoved(key));
    },
  };
}
