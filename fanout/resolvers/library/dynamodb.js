// util.dynamodb: values in DynamoDB's notation, `{ "TYPE": value }`. No table is needed for any of it.
// Source: AppSync developer guide, "DynamoDB helpers in util.dynamodb"; null in, null out: types of @aws-appsync/utils.
(host, util) => {
  "use strict";
  const { JSON } = globalThis;
  const { isNull, isObject } = host;

  const isString = (value) => typeof value === "string";

  // Properties that are undefined are left out, as in JSON. Object.fromEntries takes any name as it is, `__proto__` too.
  const toMapValues = (map) =>
    Object.fromEntries(
      Object.entries(map).filter(([, value]) => value !== undefined).map(([name, value]) => [name, toDynamoDB(value)]),
    );

  const toDynamoDB = (value) => {
    if (isNull(value)) return { NULL: null };
    if (isString(value)) return { S: value };
    if (Number.isFinite(value)) return { N: value };
    if (typeof value === "boolean") return { BOOL: value };
    if (Array.isArray(value)) return { L: value.map(toDynamoDB) };
    if (isObject(value)) return { M: toMapValues(value) };
    host.refuse("util.dynamodb", "strings, finite numbers, booleans, null, lists and objects", value);
  };

  // A function that puts what it is given, once it has been looked at, under the name of its type.
  const wrap = (name, type, wanted, accepts, convert = (value) => value) => (value) => {
    if (isNull(value)) return null;
    if (!accepts(value)) host.refuse(`util.dynamodb.${name}`, wanted, value);
    return { [type]: convert(value) };
  };
  const listOf = (accepts) => (value) => Array.isArray(value) && value.every(accepts);

  const toS3Object = (key, bucket, region, version) => {
    for (const part of [key, bucket, region]) {
      if (!isString(part)) host.refuse("util.dynamodb.toS3Object", "key, bucket and region as strings", part);
    }
    return { S: JSON.stringify({ s3: { key, bucket, region, version: version ?? undefined } }) };
  };

  // Takes the text, and the attribute that has it, as in the guide's example.
  const fromS3ObjectJson = (value) => {
    if (isNull(value)) return null;
    const text = isObject(value) ? value.S : value;
    if (!isString(text)) host.refuse("util.dynamodb.fromS3ObjectJson", "the text that toS3Object makes", value);
    const { s3 } = parse(text) ?? {};
    if (!isObject(s3)) throw new SyntaxError("util.dynamodb.fromS3ObjectJson: the text has no object `s3`");
    return s3;
  };
  const parse = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      throw new SyntaxError("util.dynamodb.fromS3ObjectJson: the text is not valid JSON");
    }
  };

  util.dynamodb = {
    toDynamoDB,
    toString: wrap("toString", "S", "a string", isString),
    toStringSet: wrap("toStringSet", "SS", "a list of strings", listOf(isString)),
    toNumber: wrap("toNumber", "N", "a finite number", Number.isFinite),
    toNumberSet: wrap("toNumberSet", "NS", "a list of finite numbers", listOf(Number.isFinite)),
    toBinary: wrap("toBinary", "B", "a base64 string", isString),
    toBinarySet: wrap("toBinarySet", "BS", "a list of base64 strings", listOf(isString)),
    toBoolean: wrap("toBoolean", "BOOL", "a boolean", (value) => typeof value === "boolean"),
    toNull: () => ({ NULL: null }),
    toList: wrap("toList", "L", "a list", Array.isArray, (list) => list.map(toDynamoDB)),
    toMap: wrap("toMap", "M", "an object", isObject, toMapValues),
    toMapValues: (map) => {
      if (isNull(map)) return null;
      if (!isObject(map)) host.refuse("util.dynamodb.toMapValues", "an object", map);
      return toMapValues(map);
    },
    toS3Object,
    fromS3ObjectJson,
  };
}
