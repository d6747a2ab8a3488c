// util.matches: Java's regular expressions by JavaScript's. The whole text has to match, as for Pattern.matches.
// Source: AppSync developer guide, "Type and pattern matching utils", which names java.util.regex.Pattern.
//
// Translated are those of Java's own that have an equal here: flags at the beginning, \Q...\E, \A \z \Z, \h \R, POSIX
// and a few other classes, escapes of any sign. What has none (possessive quantifiers, atomic groups, flags
// further on, nested classes and intersections) is refused by name rather than taken for something else. \b knows words
// of ASCII letters only, as Java's since version 19.
(host, util) => {
  "use strict";
  const FLAGS = { i: "i", m: "m", s: "s", u: "", U: "" };
  // Contents of a class.
  const CLASSES = {
    Lower: "a-z", Upper: "A-Z", Alpha: "A-Za-z", Digit: "0-9", Alnum: "A-Za-z0-9", XDigit: "0-9A-Fa-f",
    Punct: "!-\\/:-@\\[-`\\{-~", Graph: "!-~", Print: " -~", Blank: " \\t", Space: " \\t\\n\\x0B\\f\\r",
    Cntrl: "\\x00-\\x1F\\x7F", ASCII: "\\x00-\\x7F",
    IsAlphabetic: "\\p{Alphabetic}", IsLetter: "\\p{L}", IsDigit: "\\p{Nd}", IsUppercase: "\\p{Uppercase}",
    IsLowercase: "\\p{Lowercase}", IsWhite_Space: "\\p{White_Space}",
  };
  const HORIZONTAL = " \\t\\xA0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000";
  const SYNTAX = /[\\^$.*+?()[\]{}|/]/;

  const translate = (pattern) => {
    const refuse = (what, at) => {
      const where = `at character ${at + 1} of the pattern "${pattern}"`;
      throw new SyntaxError(`util.matches: ${what} ${where} is not supported.`);
    };
    let flags = "";
    let at = 0;
    const leading = /^\(\?([a-zA-Z]+)\)/.exec(pattern);
    if (leading) {
      for (const flag of leading[1]) flags += FLAGS[flag] ?? refuse(`the flag ${flag}`, 2);
      at = leading[0].length;
    }
    let text = "";
    let isInClass = false;
    // An escape, from its backslash on.
    const escaped = () => {
      const sign = pattern[at + 1];
      if (sign === undefined) refuse("a single backslash", at);
      if (sign === "Q") {
        const end = pattern.indexOf("\\E", at + 2);
        const quoted = pattern.slice(at + 2, end < 0 ? undefined : end);
        at = end < 0 ? pattern.length : end + 2;
        return [...quoted].map((one) => (SYNTAX.test(one) || (isInClass && one === "-") ? "\\" + one : one)).join("");
      }
      const property = /^\\([pP])(?:\{(\^?)([\w=]+)\}|([A-Z]))/.exec(pattern.slice(at, at + 60));
      if (property) {
        at += property[0].length;
        const isNegated = (property[1] === "P") !== (property[2] === "^");
        const name = property[3] ?? property[4];
        const members = host.pick(CLASSES, name);
        if (members === undefined) return `\\${isNegated ? "P" : "p"}{${name.replace(/^Is/, "Script=")}}`;
        if (!isInClass) return isNegated ? `[^${members}]` : `[${members}]`;
        return isNegated ? refuse("a negated class within a class", at - property[0].length) : members;
      }
      at += 2;
      if (sign === "h") return isInClass ? HORIZONTAL : `[${HORIZONTAL}]`;
      if (!isInClass) {
        switch (sign) {
          case "H": return `[^${HORIZONTAL}]`;
          // In a group, since JavaScript repeats no assertions.
          case "b": case "B": return `(?:\\${sign})`;
          case "A": return "(?:(?<![^]))";
          case "z": return "(?:(?![^]))";
          case "Z": return "(?:(?=\\n?(?![^])))";
          case "R": return "(?:\\r\\n|[\\n\\x0B\\f\\r\\x85\\u2028\\u2029])";
          case "e": return "\\x1B";
          case "a": return "\\x07";
        }
      }
      if (/[GXNVvH]/.test(sign)) refuse(`\\${sign}`, at - 2);
      // JavaScript allows only signs with a meaning to be escaped.
      if (/[^A-Za-z0-9]/.test(sign)) return SYNTAX.test(sign) || (isInClass && sign === "-") ? "\\" + sign : sign;
      return "\\" + sign;
    };
    while (at < pattern.length) {
      const sign = pattern[at];
      if (sign === "\\") text += escaped();
      else if (isInClass) {
        if (sign === "[") refuse("a class within a class", at);
        if (sign === "&" && pattern[at + 1] === "&") refuse("an intersection of classes", at);
        // A bracket that comes first stands for itself in Java.
        if (sign === "]" && !/(^|[^\\])\[\^?$/.test(text)) {
          isInClass = false;
          text += "]";
        } else text += /[\]{}()|/]/.test(sign) ? "\\" + sign : sign;
        at += 1;
      } else {
        const quantifier = /^(?:[*+?]|\{\d+(?:,\d*)?\})/.exec(pattern.slice(at, at + 30));
        if (quantifier) {
          at += quantifier[0].length;
          if (pattern[at] === "+") refuse("a possessive quantifier", at);
          text += quantifier[0];
          if (pattern[at] === "?") {
            text += "?";
            at += 1;
          }
        } else {
          const group = pattern.slice(at, at + 4);
          if (group.startsWith("(?") && !/^..(?:[:=!]|<[=!A-Za-z])/.test(group)) {
            refuse(`the group ${group.slice(0, 3)}`, at);
          }
          if (sign === "[") isInClass = true;
          if (sign === "^" || sign === "$") text += `(?:${sign})`;
          else text += sign === "]" || sign === "}" ? "\\" + sign : sign;
          at += 1;
        }
      }
    }
    try {
      return new RegExp(`(?<![^])(?:${text})(?![^])`, flags + "u");
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown;
      throw new SyntaxError(`util.matches: ${thrown.message} in the pattern "${pattern}"`);
    }
  };

  util.matches = (pattern, value) => {
    for (const text of [pattern, value]) if (typeof text !== "string") host.refuse("util.matches", "strings", text);
    return translate(pattern).test(value);
  };
}
