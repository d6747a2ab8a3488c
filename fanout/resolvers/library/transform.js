// util.transform: filters as clients write them, in the notations of what has to understand them.
// Source: AppSync developer guide, "Transformation helpers in util.transform". Where the guide says nothing of
// DynamoDB's expressions they are as captured from AppSync (the tests have the captures); operators of OpenSearch: types
// of @aws-appsync/utils, and the names that OpenSearch has for them.
(host, util) => {
  "use strict";
  const { JSON } = globalThis;
  const { isNull, isObject, pick } = host;
  const { toDynamoDB } = util.dynamodb;

  // --- subscriptions: asked, so that there is one set of rules for filters -------------------------------------------

  const TO_FILTER = "util.transform.toSubscriptionFilter";
  // JSON makes null of Infinity, which holds where the field is missing, and leaves out what is undefined: an argument
  // that a client left out would take its condition with it, and let more through. Both are refused. A whole field that
  // is undefined counts as not given, as null does.
  const checkOperands = (filter) => {
    if (!isObject(filter)) return;
    for (const [name, value] of Object.entries(filter)) {
      if (Array.isArray(value)) value.forEach(checkOperands);
      else if (isObject(value)) {
        for (const [operator, operand] of Object.entries(value)) {
          if (operand === undefined) {
            host.refuse(`${TO_FILTER}: '${operator}' on '${name}'`, "what JSON can say", operand);
          }
        }
      }
    }
  };

  // Answers hang on the question alone; subscribers who ask for the same share one: 50 us a call in place of 120.
  const known = new Map();
  const MAX_KNOWN = 64, MAX_KNOWN_LENGTH = 4000;
  const toSubscriptionFilter = (filter, ignoredFields, rules) => {
    if (isNull(filter) && isNull(rules)) return null;
    [filter, rules].forEach(checkOperands);
    const question = JSON.stringify([filter, ignoredFields, rules], host.refuseOthers(TO_FILTER));
    let answer = known.get(question);
    if (answer === undefined) {
      answer = JSON.stringify(host.ask("subscriptionFilter", ...JSON.parse(question)));
      if (known.size >= MAX_KNOWN) known.clear();
      if (question.length + answer.length <= MAX_KNOWN_LENGTH) known.set(question, answer);
    }
    // Each caller has its own, which it may change.
    return JSON.parse(answer);
  };

  // --- DynamoDB ------------------------------------------------------------------------------------------------------

  const COMPARISONS = { eq: "=", ne: "<>", lt: "<", le: "<=", gt: ">", ge: ">=" };
  const CALLS = { contains: "contains", notContains: "NOT contains", beginsWith: "begins_with" };
  const TYPE_CODES = {
    _null: "NULL", string: "S", stringSet: "SS", number: "N", numberSet: "NS", binary: "B", binarySet: "BS",
    boolean: "BOOL", list: "L", map: "M",
  };

  class Unreadable { }
  const check = (condition) => {
    if (!condition) throw new Unreadable();
  };

  // An expression under construction. What is empty is joined like anything else, as AppSync does: DynamoDB refuses
  // the expression then, which is better than one that holds for more than was meant.
  class Expression {
    names = {};
    values = {};

    #addValue(name, value) {
      const key = ":" + name;
      if (Object.hasOwn(this.values, key)) throw new TypeError(`util.transform: two conditions are named ${key}`);
      this.values[key] = toDynamoDB(value);
      return key;
    }

    #compare(operand, name, operator, value) {
      const path = `${name}_${operator}`;
      const comparison = pick(COMPARISONS, operator);
      if (comparison) return `(${operand} ${comparison} ${this.#addValue(path, value)})`;
      const call = pick(CALLS, operator);
      if (call) return `(${call}(${operand},${this.#addValue(path, value)}))`;
      switch (operator) {
        case "between":
          check(Array.isArray(value) && value.length >= 2);
          return `(${operand} BETWEEN ${this.#addValue(path + "_start", value[0])} AND `
            + `${this.#addValue(path + "_end", value[1])})`;
        case "in":
          check(Array.isArray(value));
          if (value.length === 0) return "(null)";
          return `(${operand} IN (${value.map((item, index) => this.#addValue(`${path}_${index}`, item)).join(", ")}))`;
        case "attributeExists":
          check(typeof value === "boolean");
          return `(${value ? "attribute_exists" : "attribute_not_exists"}(${operand}))`;
        case "attributeType":
          check(pick(TYPE_CODES, value) !== undefined);
          return `(attribute_type(${operand},${this.#addValue(path, TYPE_CODES[value])}))`;
        case "size":
          return this.#combine(operand.startsWith("size(") ? operand : `size(${operand})`, path, value);
        default:
          throw new Unreadable();
      }
    }

    #combine(operand, name, operators) {
      check(isObject(operators));
      const conditions = Object.entries(operators).map(
        ([operator, value]) => this.#compare(operand, name, operator, value),
      );
      return this.#join(conditions, "AND");
    }

    #join(parts, word) {
      return parts.length > 1 ? `(${parts.join(` ${word} `)})` : parts.join("");
    }

    #part(key, value, prefix) {
      if (key === "and" || key === "or") {
        check(Array.isArray(value));
        const members = value.map((member, index) => this.#join(this.parts(member, `${prefix}${key}_${index}_`), "AND"));
        return this.#join(members, key.toUpperCase());
      }
      if (key === "not") return `(NOT ${this.#join(this.parts(value, prefix + "not_"), "AND")})`;
      this.names["#" + key] = key;
      return this.#combine("#" + key, prefix + key, value);
    }

    parts(filter, prefix) {
      check(isObject(filter));
      return Object.entries(filter).map(([key, value]) => this.#part(key, value, prefix));
    }
  }

  // A filter that cannot be read becomes null, as it does in AppSync.
  const toExpression = (filter) => {
    const expression = new Expression();
    try {
      return JSON.stringify({
        expression: expression.parts(filter, "").join(" AND "),
        expressionNames: expression.names,
        expressionValues: expression.values,
      });
    } catch (thrown) {
      if (thrown instanceof Unreadable) return null;
      throw thrown;
    }
  };

  // --- OpenSearch ----------------------------------------------------------------------------------------------------

  const all = (queries) => (queries.length === 1 ? queries[0] : { bool: { must: queries } });
  const not = (query) => ({ bool: { must_not: query } });
  const on = (type) => (field, value) => ({ [type]: { [field]: value } });
  const range = (bound) => (field, value) => ({ range: { [field]: { [bound]: value } } });
  const QUERIES = {
    eq: on("term"),
    ne: (field, value) => not({ term: { [field]: value } }),
    gt: range("gt"),
    gte: range("gte"),
    lt: range("lt"),
    lte: range("lte"),
    range: (field, value) => {
      if (!Array.isArray(value) || value.length < 2) host.refuse(`${OPEN_SEARCH}: range`, "a list of two bounds", value);
      return { range: { [field]: { gte: value[0], lte: value[1] } } };
    },
    exists: (field, value) => (value === false ? not({ exists: { field } }) : { exists: { field } }),
    match: on("match"),
    matchPhrase: on("match_phrase"),
    matchPhrasePrefix: on("match_phrase_prefix"),
    multiMatch: (field, value) => ({ multi_match: { query: value, fields: [field] } }),
    wildcard: on("wildcard"),
    regexp: on("regexp"),
  };
  const OPEN_SEARCH = "util.transform.toElasticsearchQueryDSL";

  const toFieldQuery = (field, operators) => {
    if (!isObject(operators)) host.refuse(`${OPEN_SEARCH}: '${field}'`, "an object of operators", operators);
    const queries = Object.entries(operators).map(([operator, value]) => {
      const build = pick(QUERIES, operator);
      if (build === undefined) throw new TypeError(`${OPEN_SEARCH}: '${field}' has the unknown operator '${operator}'`);
      return build(field, value);
    });
    return all(queries);
  };

  const toQuery = (filter) => {
    if (!isObject(filter)) host.refuse(OPEN_SEARCH, "an object of fields, `and`, `or` and `not`", filter);
    const queries = Object.entries(filter).map(([key, value]) => {
      if (key === "not") return not(toQuery(value));
      if (key !== "and" && key !== "or") return toFieldQuery(key, value);
      if (!Array.isArray(value)) host.refuse(`${OPEN_SEARCH}: '${key}'`, "a list of objects", value);
      const members = value.map(toQuery);
      return { bool: key === "and" ? { must: members } : { should: members, minimum_should_match: 1 } };
    });
    return all(queries);
  };

  util.transform = {
    toSubscriptionFilter,
    toDynamoDBFilterExpression: toExpression,
    toDynamoDBConditionExpression: toExpression,
    toElasticsearchQueryDSL: (filter) => (isNull(filter) ? null : JSON.stringify(toQuery(filter))),
  };
}
