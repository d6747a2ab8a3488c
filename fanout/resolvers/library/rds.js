// util.rds: what Amazon's RDS Data API answers, as records. No database is needed: an HTTP data source can ask that API.
// Source: AppSync developer guide, "Amazon RDS helpers in util.rds"; lists of statements, names of columns, nulls and
// statements without records as captured from AppSync; kinds of fields: reference of the RDS Data API, type Field.
(host, util) => {
  "use strict";
  const { JSON } = globalThis;
  const { isNull, isObject } = host;
  const NAME = "util.rds.toJsonObject";

  const readArray = (array) => {
    if (!isObject(array)) host.refuse(`${NAME}: an arrayValue`, "an object", array);
    const [items = []] = Object.values(array);
    return array.arrayValues ? array.arrayValues.map(readArray) : items;
  };
  const readField = (field) => {
    if (!isObject(field)) host.refuse(`${NAME}: a record`, "a list of fields", field);
    if (field.isNull === true) return undefined;
    return field.arrayValue === undefined ? Object.values(field)[0] : readArray(field.arrayValue);
  };

  const isName = (name) => typeof name === "string";
  const nameColumn = (column, at) => [column?.label, column?.name].find(isName) ?? String(at);

  // Columns that are null are left out, as captured.
  const readRecord = (record, columns) => {
    if (!Array.isArray(record)) host.refuse(`${NAME}: records`, "lists of fields", record);
    return Object.fromEntries(
      record.map((field, at) => [nameColumn(columns[at], at), readField(field)])
        .filter(([, value]) => !isNull(value)),
    );
  };

  const readStatement = ({ records, columnMetadata }) => {
    if (isNull(records)) return [{}];
    if (!Array.isArray(records)) host.refuse(`${NAME}: records`, "lists of fields", records);
    const columns = Array.isArray(columnMetadata) ? columnMetadata : [];
    return records.map((record) => readRecord(record, columns));
  };

  const read = (result) => {
    if (typeof result !== "string") return result;
    try {
      return JSON.parse(result);
    } catch {
      return undefined;
    }
  };

  util.rds = {
    toJsonObject: (result) => {
      if (isNull(result)) return null;
      const statements = read(result)?.sqlStatementResults;
      if (!Array.isArray(statements) || !statements.every(isObject)) {
        host.refuse(NAME, "the result of statements, with sqlStatementResults", result);
      }
      return statements.map(readStatement);
    },
  };
}
