// util.time: instants in milliseconds since 1970, as ISO 8601 texts, and as texts by patterns.
// Source: AppSync developer guide, "Time helpers in util.time"; what it leaves open is as in java.time.
(host, util) => {
  "use strict";
  const { DAY_MS, floorDiv, mod, isLeap, getMonthLength, toDays, fromDays, findZone, toInstant } = host.calendar;
  const { DAYS, fail, readPattern, write, read } = host.timeFormat;
  const MAX_MS = 8.64e15;
  const UTC = findZone("UTC");

  const checkMs = (ms) => {
    if (typeof ms !== "number") host.refuse("util.time", "milliseconds since 1970 as a number", ms);
    if (!(Math.abs(ms) <= MAX_MS)) fail(`${ms} milliseconds are out of range`);
    return Math.floor(ms);
  };
  const checkText = (text) => {
    if (typeof text !== "string") host.refuse("util.time", "a time as a string", text);
    return text;
  };
  const chooseZone = (zone) => (host.isNull(zone) ? UTC : findZone(zone));

  // ---- From fields to an instant.
  const check = (fields, refuse, field, name, least, most) => {
    const value = fields[field];
    if (value !== undefined && (value < least || value > most)) refuse(`${value} is no ${name}`);
  };
  const resolveDate = (fields, refuse) => {
    check(fields, refuse, "yearOfEra", "year of an era (u counts those before 1)", 1, 999999999);
    const { yearOfEra } = fields;
    const year = fields.year ?? (fields.era === 1 && yearOfEra !== undefined ? 1 - yearOfEra : yearOfEra);
    if (year === undefined) return refuse("there is no year");
    if (Math.abs(year) > 275000) return refuse(`the year ${year} is out of range`);
    check(fields, refuse, "month", "month", 1, 12);
    check(fields, refuse, "day", "day of a month", 1, 31);
    let days;
    if (fields.month !== undefined && fields.day !== undefined) {
      // As java.time: the 31st of a month that has none is its last day; ISO texts are checked before.
      days = toDays(year, fields.month, Math.min(fields.day, getMonthLength(year, fields.month)));
    } else if (fields.dayOfYear !== undefined) {
      check(fields, refuse, "dayOfYear", `day of ${year}`, 1, isLeap(year) ? 366 : 365);
      days = toDays(year, 1, 1) + fields.dayOfYear - 1;
    } else return refuse("there is no month and day");
    if (fields.quarter !== undefined && Math.ceil(fromDays(days).month / 3) !== fields.quarter) {
      return refuse(`the day is not in quarter ${fields.quarter}`);
    }
    if (fields.dayOfWeek !== undefined && mod(days + 3, 7) + 1 !== fields.dayOfWeek) {
      return refuse(`the day is a ${DAYS[mod(days + 3, 7)]}, not a ${DAYS[fields.dayOfWeek - 1] ?? "day of the week"}`);
    }
    return days;
  };
  const resolveTime = (fields, refuse) => {
    check(fields, refuse, "hour24", "hour (k: 1 to 24)", 0, 24);
    check(fields, refuse, "hour12", "hour (h: 1 to 12)", 0, 12);
    check(fields, refuse, "hour11", "hour (K: 0 to 11)", 0, 11);
    check(fields, refuse, "minute", "minute", 0, 59);
    check(fields, refuse, "second", "second", 0, 59);
    check(fields, refuse, "milli", "millisecond of a day", 0, DAY_MS - 1);
    check(fields, refuse, "nano", "nanosecond of a second", 0, 999999999);
    check(fields, refuse, "nanoOfDay", "nanosecond of a day", 0, DAY_MS * 1e6 - 1);
    if (fields.milli !== undefined) return fields.milli;
    if (fields.nanoOfDay !== undefined) return Math.floor(fields.nanoOfDay / 1e6);
    const { minute = 0, second = 0, nano = 0, half } = fields;
    let { hour } = fields;
    const ofHalf = fields.hour11 ?? (fields.hour12 === undefined ? undefined : fields.hour12 % 12);
    if (hour === undefined && fields.hour24 !== undefined) hour = fields.hour24 % 24;
    if (hour === undefined && ofHalf !== undefined) {
      if (half === undefined) refuse("there is no AM or PM");
      hour = ofHalf + (half === 2 ? 12 : 0);
    }
    // As java.time: no part without the greater ones.
    if (hour === undefined && (fields.minute ?? fields.second ?? fields.nano) !== undefined) refuse("there is no hour");
    if (fields.minute === undefined && (fields.second ?? fields.nano) !== undefined) refuse("there is no minute");
    if (fields.second === undefined && fields.nano !== undefined) refuse("there is no second");
    const isEndOfDay = hour === 24 && !minute && !second && !nano;
    if (hour > 23 && !isEndOfDay) refuse(`${hour} is no hour`);
    return ((hour ?? 0) * 3600 + minute * 60 + second) * 1000 + Math.floor(nano / 1e6);
  };
  const resolve = (fields, zone, refuse) => {
    const local = resolveDate(fields, refuse) * DAY_MS + resolveTime(fields, refuse);
    if (fields.offset !== undefined) return local - fields.offset * 1000;
    return toInstant(fields.zone === undefined ? zone : findZone(fields.zone), local);
  };

  const parse = (text, pattern, zone) => {
    const fields = read(readPattern(pattern), checkText(text));
    const refuse = (what) => fail(`"${text}" is no time of the pattern "${pattern}"${what ? `: ${what}` : ""}`);
    if (fields === null) refuse("");
    return resolve(fields, chooseZone(zone), refuse);
  };

  // RFC 3339 and what AWSDateTime allows beyond it: no seconds, offsets of hours or with seconds; a date alone is its
  // midnight, and what has no offset is in UTC.
  const ISO = new RegExp(
    "^([+-]\\d{4,9}|\\d{4})-(\\d\\d)-(\\d\\d)"
    + "(?:T(\\d\\d):(\\d\\d)(?::(\\d\\d)(?:[.,](\\d{1,9}))?)?(Z|([+-])(\\d\\d)(?::?(\\d\\d)(?::?(\\d\\d))?)?)?)?$", "i",
  );
  const parseISO = (text) => {
    const found = ISO.exec(checkText(text));
    const refuse = (what) => fail(`"${text}" is no ISO 8601 time${what ? `: ${what}` : ""}`);
    if (found === null) return refuse("");
    const [year, month, day] = found.slice(1, 4).map(Number);
    const [hours, minutes, seconds] = found.slice(10, 13).map((part) => Number(part ?? 0));
    check({ month }, refuse, "month", "month", 1, 12);
    if (day > getMonthLength(year, month)) refuse(`the month has no day ${day}`);
    if (minutes > 59 || seconds > 59 || hours > 18) refuse("the offset is out of range");
    const offset = (hours * 3600 + minutes * 60 + seconds) * (found[9] === "-" ? -1 : 1);
    const nano = Number((found[7] ?? "").padEnd(9, "0"));
    const part = (index) => Number(found[index] ?? 0);
    return resolve({ year, month, day, hour: part(4), minute: part(5), second: part(6), nano, offset }, UTC, refuse);
  };
  const ISO_ITEMS = readPattern("uuuu-MM-dd'T'HH:mm:ss.SSSX");
  const formatISO = (ms) => write(ISO_ITEMS, ms, UTC);
  const format = (ms, pattern, zone) => write(readPattern(pattern), ms, chooseZone(zone));

  util.time = {
    nowISO8601: () => formatISO(host.now()),
    nowEpochSeconds: () => floorDiv(host.now(), 1000),
    nowEpochMilliSeconds: () => host.now(),
    nowFormatted: (pattern, zone) => format(host.now(), pattern, zone),
    parseFormattedToEpochMilliSeconds: (text, pattern, zone) => parse(text, pattern, zone),
    parseISO8601ToEpochMilliSeconds: (text) => parseISO(text),
    epochMilliSecondsToSeconds: (ms) => floorDiv(checkMs(ms), 1000),
    epochMilliSecondsToISO8601: (ms) => formatISO(checkMs(ms)),
    epochMilliSecondsToFormatted: (ms, pattern, zone) => format(checkMs(ms), pattern, zone),
  };
}
