// Texts of times by patterns of java.time.format.DateTimeFormatter, for util.time: adds host.timeFormat.
// Source: DateTimeFormatterBuilder's appendPattern in Java 8; names are English, weeks those of the United States.
(host) => {
  "use strict";
  const { DAY_MS, floorDiv, mod, pad, toDays, fromDays, formatOffset } = host.calendar;
  const MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ];
  const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  const QUARTERS = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];

  const fail = (message) => {
    throw new RangeError(`util.time: ${message}`);
  };

  // ---- What an instant is in a zone: all that letters tell.
  const readFields = (ms, zone) => {
    const [offset, zoneName] = zone.find(ms);
    const local = ms + offset * 1000;
    const days = floorDiv(local, DAY_MS), milli = mod(local, DAY_MS);
    const date = fromDays(days);
    return {
      ...date, days, milli, offset, zoneName, zoneId: zone.id,
      hour: floorDiv(milli, 3600000), minute: floorDiv(milli, 60000) % 60, second: floorDiv(milli, 1000) % 60,
      dayOfYear: days - toDays(date.year, 1, 1) + 1,
      dayOfWeek: mod(days + 3, 7) + 1,
    };
  };
  // Weeks begin on Sunday, the first has January 1.
  const readWeek = ({ year, days }) => {
    const findStart = (of) => {
      const first = toDays(of, 1, 1);
      return first - mod(first + 4, 7);
    };
    const weekYear = days >= findStart(year + 1) ? year + 1 : year;
    return [weekYear, floorDiv(days - findStart(weekYear), 7) + 1];
  };

  // ---- Letters: kind of field, and how it is written by count.
  // A number: [field, least count, greatest count]; the count is its width, 1 is as wide as it has to be.
  const NUMBERS = {
    d: ["day", 2], D: ["dayOfYear", 3], h: ["hour12", 2], H: ["hour", 2], k: ["hour24", 2], K: ["hour11", 2],
    m: ["minute", 2], s: ["second", 2], w: ["week", 2], A: ["milli", 19], n: ["nano", 19], N: ["nanoOfDay", 19],
  };
  const TEXTS = { M: "month", L: "month", E: "dayOfWeek", e: "dayOfWeek", c: "dayOfWeek", Q: "quarter", q: "quarter" };
  const NAMES = { month: MONTHS, dayOfWeek: DAYS };
  const OFFSETS = {
    X: ["+HHmm", "+HHMM", "+HH:MM", "+HHMMss", "+HH:MM:ss"],
    x: ["+HHmm", "+HHMM", "+HH:MM", "+HHMMss", "+HH:MM:ss"],
    Z: ["+HHMM", "+HHMM", "+HHMM", null, "+HH:MM:ss"],
  };
  const LETTERS = "G u y Y Q q M L w D d E e c a h H K k m s S A n N V z O X x Z";

  // A pattern as a list of items: { literal }, { letter, count, at }, { optional: [...] }.
  const readPattern = (pattern) => {
    if (typeof pattern !== "string") host.refuse("util.time", "a pattern as a string", pattern);
    const refuse = (what, at) => fail(`${what} at character ${at + 1} of the pattern "${pattern}"`);
    const open = [[]];
    for (let at = 0; at < pattern.length;) {
      const items = open[open.length - 1];
      const sign = pattern[at];
      if (/[A-Za-z]/.test(sign)) {
        let end = at + 1;
        while (pattern[end] === sign) end += 1;
        const count = end - at;
        const found = checkLetter(sign, count);
        if (found !== null) refuse(found, at);
        items.push({ letter: sign, count });
        at = end;
      } else if (sign === "'") {
        let text = "";
        let end = at + 1;
        for (; ; end += 1) {
          if (end >= pattern.length) refuse("a quote that does not end", at);
          if (pattern[end] !== "'") text += pattern[end];
          else if (pattern[end + 1] === "'") text += pattern[(end += 1)];
          else break;
        }
        // Two quotes are one.
        items.push({ literal: end === at + 1 ? "'" : text });
        at = end + 1;
      } else {
        if (sign === "[") open.push([]);
        else if (sign === "]") {
          if (open.length === 1) refuse("a closing bracket without an opening one", at);
          open.pop();
          open[open.length - 1].push({ optional: items });
        } else if (/[{}#]/.test(sign)) refuse(`the reserved character ${sign}`, at);
        else items.push({ literal: sign });
        at += 1;
      }
    }
    // Brackets may stay open.
    while (open.length > 1) {
      const items = open.pop();
      open[open.length - 1].push({ optional: items });
    }
    return open[0];
  };
  const checkLetter = (letter, count) => {
    const wrong = `too many letters ${letter}`;
    if (letter in NUMBERS) return count > NUMBERS[letter][1] ? wrong : null;
    if (letter in TEXTS) return count > 5 || (letter === "c" && count === 2) ? wrong : null;
    switch (letter) {
      case "G": return count > 5 ? wrong : null;
      case "u": case "y": case "Y": return count > 19 ? wrong : null;
      case "a": return count > 1 ? wrong : null;
      case "S": return count > 9 ? wrong : null;
      case "V": return count === 2 ? null : "other than two letters V";
      case "z": return count > 3 ? "the full name of a time zone (zzzz), which is not known," : null;
      case "O": return count === 1 || count === 4 ? null : "other than one or four letters O";
      case "X": case "x": case "Z": return count > 5 ? wrong : null;
      default:
        return `the letter ${letter}, which is not supported (text goes into single quotes; letters: ${LETTERS}),`;
    }
  };

  // ---- Writing.
  const writeOffset = (style, seconds, zero) => {
    if (seconds === 0) return zero;
    const [, hours, minutes, rest] = /^(...):(..)(?::(..))?$/.exec(formatOffset(seconds));
    const colon = style.includes(":") ? ":" : "";
    const text = style === "+HHmm" && minutes === "00" ? hours : hours + colon + minutes;
    return style.endsWith("ss") && rest ? text + colon + rest : text;
  };
  const getZero = (letter, count) => {
    if (letter === "X" || (letter === "Z" && count === 5)) return "Z";
    return letter === "Z" ? "+0000" : ["+00", "+0000", "+00:00", "+0000", "+00:00"][count - 1];
  };
  const writeLocalizedOffset = (seconds, isFull) => {
    if (seconds === 0) return "GMT";
    const [hours, minutes, rest] = formatOffset(seconds).split(":");
    if (isFull) return `GMT${hours}:${minutes}${rest ? ":" + rest : ""}`;
    const ends = (minutes !== "00" || rest ? ":" + minutes : "") + (rest ? ":" + rest : "");
    return `GMT${hours[0]}${Number(hours.slice(1))}${ends}`;
  };
  const writeYear = (year, count) => {
    if (count === 2) return pad(Math.abs(year) % 100, 2);
    const digits = pad(Math.abs(year), count);
    return (year < 0 ? "-" : count >= 4 && digits.length > count ? "+" : "") + digits;
  };
  const getNumber = (field, fields) => {
    switch (field) {
      case "hour12": return mod(fields.hour + 11, 12) + 1;
      case "hour11": return fields.hour % 12;
      case "hour24": return fields.hour === 0 ? 24 : fields.hour;
      case "week": return readWeek(fields)[1];
      case "nano": return (fields.milli % 1000) * 1e6;
      case "nanoOfDay": return BigInt(fields.milli) * 1000000n;
      default: return fields[field];
    }
  };
  const writeText = (letter, count, fields) => {
    const field = TEXTS[letter];
    const number = field === "quarter" ? Math.ceil(fields.month / 3) : fields[field];
    const isName = count > 2 || letter === "E";
    if (!isName) return pad(field === "dayOfWeek" ? (number % 7) + 1 : number, count);
    if (field === "quarter") return count === 3 ? `Q${number}` : count === 4 ? QUARTERS[number - 1] : String(number);
    const name = NAMES[field][number - 1];
    return count === 4 ? name : name.slice(0, count === 5 ? 1 : 3);
  };
  const writeItem = (item, fields) => {
    if (item.literal !== undefined) return item.literal;
    if (item.optional) return write(item.optional, fields);
    const { letter, count } = item;
    if (letter in NUMBERS) return pad(getNumber(NUMBERS[letter][0], fields), count);
    if (letter in TEXTS) return writeText(letter, count, fields);
    const { year, hour, milli, offset } = fields;
    switch (letter) {
      case "G": {
        const era = year > 0 ? "AD" : "BC";
        return count < 4 ? era : count === 5 ? era[0] : year > 0 ? "Anno Domini" : "Before Christ";
      }
      case "u": return writeYear(year, count);
      case "y": return writeYear(year > 0 ? year : 1 - year, count);
      case "Y": return writeYear(readWeek(fields)[0], count);
      case "a": return hour < 12 ? "AM" : "PM";
      case "S": return (pad(milli % 1000, 3) + "000000").slice(0, count);
      case "V": return fields.zoneId;
      case "z": return fields.zoneName;
      case "O": return writeLocalizedOffset(offset, count === 4);
      default: {
        if (letter === "Z" && count === 4) return writeLocalizedOffset(offset, true);
        return writeOffset(OFFSETS[letter][count - 1], offset, getZero(letter, count));
      }
    }
  };
  const write = (items, fields) => items.map((item) => writeItem(item, fields)).join("");

  // ---- Reading. Each reader gives the position behind what it took, or -1.
  const isFixed = (item) => item !== undefined && item.letter !== undefined && (
    item.letter === "S" || (item.letter in NUMBERS ? item.count > 1
      : item.letter in TEXTS ? item.count === 2 && item.letter !== "E" : /[uy]/.test(item.letter) && item.count === 2));
  const OFFSET_READERS = {
    "+HHmm": /([+-])(\d\d)(\d\d)?/y, "+HHMM": /([+-])(\d\d)(\d\d)/y, "+HH:MM": /([+-])(\d\d):(\d\d)/y,
    "+HHMMss": /([+-])(\d\d)(\d\d)(\d\d)?/y, "+HH:MM:ss": /([+-])(\d\d):(\d\d)(?::(\d\d))?/y,
    O: /GMT(?:([+-])(\d\d?)(?::(\d\d)(?::(\d\d))?)?)?/y, OOOO: /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?/y,
  };
  const ZONE_NAME = /Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?|[A-Za-z][A-Za-z0-9~/._+-]*(?::\d\d)?/y;
  const match = (reader, text, at) => {
    reader.lastIndex = at;
    return reader.exec(text);
  };

  const readNumber = (text, at, least, most, reserved) => {
    let end = at;
    while (end < text.length && end - at < most + reserved && text[end] >= "0" && text[end] <= "9") end += 1;
    // Digits that belong to what follows at once.
    end = Math.min(at + most, Math.max(at + least, end - reserved));
    const digits = text.slice(at, end);
    return digits.length >= least && /^\d+$/.test(digits) ? [end, Number(digits)] : null;
  };
  const readName = (names, text, at) => {
    let found = -1;
    names.forEach((name, index) => {
      if (text.startsWith(name, at) && (found < 0 || name.length > names[found].length)) found = index;
    });
    return found;
  };
  const readYear = (item, text, at, reserved) => {
    const { count } = item;
    if (count === 2) {
      const found = readNumber(text, at, 2, 2, 0);
      return found && [found[0], 2000 + found[1]];
    }
    const sign = text[at] === "-" || (text[at] === "+" && count > 3) ? text[at] : "";
    const found = readNumber(text, at + sign.length, count, 9, reserved);
    if (found === null) return null;
    const isLong = found[0] - at - sign.length > count;
    // A sign goes with more digits than letters, and those with a sign.
    if (count > 3 && ((sign === "+" && !isLong) || (sign === "" && isLong))) return null;
    return [found[0], sign === "-" ? -found[1] : found[1]];
  };
  // Says a field; two that differ are no time at all.
  const put = (fields, field, value) => {
    if (fields[field] !== undefined && fields[field] !== value) return false;
    fields[field] = value;
    return true;
  };
  const readItem = (items, index, text, at, fields) => {
    const item = items[index];
    if (item.literal !== undefined) return text.startsWith(item.literal, at) ? at + item.literal.length : -1;
    if (item.optional) {
      const copy = { ...fields };
      const end = read(item.optional, text, at, copy);
      if (end < 0) return at;
      Object.assign(fields, copy);
      return end;
    }
    const { letter, count } = item;
    let reserved = 0;
    for (let next = index + 1; isFixed(items[next]); next += 1) reserved += items[next].count;
    const take = (found, field) => (found !== null && put(fields, field, found[1]) ? found[0] : -1);
    const takeOffset = (found) => {
      if (found === null) return -1;
      const [all, sign, hours = 0, minutes = 0, seconds = 0] = found;
      const total = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
      if (total > 64800 || minutes > 59 || seconds > 59) return -1;
      return put(fields, "offset", sign === "-" ? -total : total) ? at + all.length : -1;
    };
    const takeName = (names, field) => {
      const found = readName(names, text, at);
      return found >= 0 && put(fields, field, found + 1) ? at + names[found].length : -1;
    };
    if (letter in NUMBERS) {
      const [field, most] = NUMBERS[letter];
      if (letter === "w") fail("the letter w cannot be read, only written");
      if (/[DAnN]/.test(letter)) return take(readNumber(text, at, count, most, reserved), field);
      return take(readNumber(text, at, count, count === 1 ? 19 : count, count === 1 ? reserved : 0), field);
    }
    if (letter in TEXTS) {
      const field = TEXTS[letter];
      if (count > 2 || letter === "E") {
        if (field === "quarter") return takeName(count === 3 ? ["Q1", "Q2", "Q3", "Q4"] : QUARTERS, field);
        if (count === 5) fail(`five letters ${letter} cannot be read, only written`);
        return takeName(count === 4 ? NAMES[field] : NAMES[field].map((name) => name.slice(0, 3)), field);
      }
      const most = count === 1 && field !== "dayOfWeek" ? 19 : count;
      const found = readNumber(text, at, count, most, count === 1 ? reserved : 0);
      return take(found && field === "dayOfWeek" ? [found[0], mod(found[1] - 2, 7) + 1] : found, field);
    }
    switch (letter) {
      case "G": {
        const names = count < 4 ? ["BC", "AD"] : count === 4 ? ["Before Christ", "Anno Domini"] : ["B", "A"];
        return takeName(names, "era");
      }
      case "u": return take(readYear(item, text, at, reserved), "year");
      case "y": return take(readYear(item, text, at, reserved), "yearOfEra");
      case "Y": return fail("the letter Y (of the week's year) cannot be read, only written; use y or u");
      case "a": return takeName(["AM", "PM"], "half");
      case "S": {
        const found = readNumber(text, at, count, count, 0);
        return take(found && [found[0], found[1] * 10 ** (9 - count)], "nano");
      }
      case "V": case "z": {
        const found = match(ZONE_NAME, text, at);
        return found !== null && put(fields, "zone", found[0]) ? at + found[0].length : -1;
      }
      default: {
        const isFull = count === 4 && (letter === "O" || letter === "Z");
        if (isFull || letter === "O") return takeOffset(match(OFFSET_READERS[isFull ? "OOOO" : "O"], text, at));
        const zero = getZero(letter, count);
        if (zero === "Z" && text[at] === "Z") return put(fields, "offset", 0) ? at + 1 : -1;
        return takeOffset(match(OFFSET_READERS[OFFSETS[letter][count - 1]], text, at));
      }
    }
  };
  const read = (items, text, start, fields) => {
    let at = start;
    for (let index = 0; index < items.length && at >= 0; index += 1) at = readItem(items, index, text, at, fields);
    return at;
  };

  host.timeFormat = {
    DAYS,
    fail,
    readPattern,
    // The text of an instant in a zone.
    write: (items, ms, zone) => write(items, readFields(ms, zone)),
    // The fields that a text says, null where it is not of the pattern.
    read: (items, text) => {
      const fields = {};
      return read(items, text, 0, fields) === text.length ? fields : null;
    },
  };
}
