// Days and time zones for util.time: adds host.calendar. The calendar is ISO's (proleptic Gregorian), as java.time's.
//
// Named zones are asked of the host, once per context and span of 16 years, so that an answer is soon made:
// ["zone", name, span] gives the offset at the span's beginning, and from when on which other one holds in it.
(host) => {
  "use strict";
  const DAY_MS = 86400000;
  const SPAN_SECONDS = 16 * 31556952, FIRST_SPAN = -122, LAST_SPAN = 500;
  // Answers hang on the question alone; names can come from clients.
  const known = new Map();
  const MAX_KNOWN = 64;
  const MAX_OFFSET_SECONDS = 18 * 3600;
  const floorDiv = (value, by) => Math.floor(value / by);
  const mod = (value, by) => value - by * Math.floor(value / by);
  const pad = (value, width) => String(value).padStart(width, "0");
  const isLeap = (year) => mod(year, 4) === 0 && (mod(year, 100) !== 0 || mod(year, 400) === 0);
  const getMonthLength = (year, month) => {
    if (month === 2) return isLeap(year) ? 29 : 28;
    return [4, 6, 9, 11].includes(month) ? 30 : 31;
  };

  // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": eras of 400 years that begin in March.
  const toDays = (year, month, day) => {
    const shifted = month > 2 ? year : year - 1;
    const era = floorDiv(shifted, 400);
    const yearOfEra = shifted - era * 400;
    const dayOfYear = floorDiv(153 * (month + (month > 2 ? -3 : 9)) + 2, 5) + day - 1;
    return era * 146097 + yearOfEra * 365 + floorDiv(yearOfEra, 4) - floorDiv(yearOfEra, 100) + dayOfYear - 719468;
  };
  const fromDays = (days) => {
    const shifted = days + 719468;
    const era = floorDiv(shifted, 146097);
    const dayOfEra = shifted - era * 146097;
    const yearOfEra = floorDiv(
      dayOfEra - floorDiv(dayOfEra, 1460) + floorDiv(dayOfEra, 36524) - floorDiv(dayOfEra, 146096), 365,
    );
    const dayOfYear = dayOfEra - (365 * yearOfEra + floorDiv(yearOfEra, 4) - floorDiv(yearOfEra, 100));
    const shiftedMonth = floorDiv(5 * dayOfYear + 2, 153);
    const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
    const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
    return { year, month, day: dayOfYear - floorDiv(153 * shiftedMonth + 2, 5) + 1 };
  };

  // "+01:30": seconds appear where there are any.
  const formatOffset = (seconds) => {
    const size = Math.abs(seconds), rest = size % 60;
    return (seconds < 0 ? "-" : "+") + pad(floorDiv(size, 3600), 2) + ":" + pad(floorDiv(size, 60) % 60, 2)
      + (rest ? ":" + pad(rest, 2) : "");
  };
  // An offset as ZoneId.of reads it; null for other texts.
  const OFFSET = /^([+-])(?:(\d{1,2})|(\d{2}):(\d{2})(?::(\d{2}))?|(\d{2})(\d{2})(\d{2})?)$/;
  const parseOffset = (text) => {
    const found = OFFSET.exec(text);
    if (found === null) return null;
    const hours = Number(found[2] ?? found[3] ?? found[6]);
    const minutes = Number(found[4] ?? found[7] ?? 0), seconds = Number(found[5] ?? found[8] ?? 0);
    const total = hours * 3600 + minutes * 60 + seconds;
    if (minutes > 59 || seconds > 59 || total > MAX_OFFSET_SECONDS) return null;
    return found[1] === "-" ? -total : total;
  };
  const makeFixed = (id, offset, name) => ({ id, find: () => [offset, name] });

  const findSpan = (id, span) => {
    const key = `${span} ${id}`;
    let answer = known.get(key);
    if (answer === undefined) {
      answer = host.ask("zone", id, span);
      if (known.size >= MAX_KNOWN) known.clear();
      known.set(key, answer);
    }
    return answer;
  };
  const makeRegion = (id) => ({
    id,
    // The offset in seconds and the name in short that hold at an instant.
    find: (ms) => {
      const seconds = floorDiv(ms, 1000);
      const span = Math.min(LAST_SPAN, Math.max(FIRST_SPAN, floorDiv(seconds, SPAN_SECONDS)));
      const { first, transitions } = findSpan(id, span);
      let low = 0, high = transitions.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (transitions[middle][0] <= seconds) low = middle + 1;
        else high = middle;
      }
      return low ? transitions[low - 1].slice(1) : first;
    },
  });

  const findZone = (id) => {
    if (typeof id !== "string") host.refuse("util.time", "a time zone", id);
    if (id === "Z") return makeFixed("Z", 0, "Z");
    if (id === "UTC" || id === "GMT" || id === "UT") return makeFixed(id, 0, id);
    const prefix = /^(?:UTC|GMT|UT)(?=[+-])/.exec(id)?.[0] ?? "";
    const offset = parseOffset(id.slice(prefix.length));
    if (offset !== null) {
      const name = offset ? prefix + formatOffset(offset) : prefix || "Z";
      return makeFixed(name, offset, name);
    }
    return makeRegion(id);
  };

  // The instant of a local time (milliseconds as if in UTC), as java.time has it: what does not exist when clocks go
  // forward is as much later, of what exists twice when they go back it is the first.
  const toInstant = (zone, localMs) => {
    const [before] = zone.find(localMs - DAY_MS), [after] = zone.find(localMs + DAY_MS);
    for (const offset of [before, after]) {
      const ms = localMs - offset * 1000;
      if (zone.find(ms)[0] === offset) return ms;
    }
    return localMs - before * 1000;
  };

  host.calendar = {
    DAY_MS, floorDiv, mod, pad, isLeap, getMonthLength, toDays, fromDays, formatOffset, findZone, toInstant,
  };
}
