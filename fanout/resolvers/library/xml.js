// util.xml: a small strict reader of XML 1.0. It knows no document types, so that there are no entities but the five of
// XML itself and characters by number: nothing expands. Names are taken as they are, prefixes included.
// Source: AppSync developer guide, "XML helpers in util.xml". The guide shows elements, lists and numbers; the rest is
// as in the usual mapping to JSON: attributes beside elements, and text beside either as `content`.
(host, util) => {
  "use strict";
  const { JSON } = globalThis;
  // Far from what messages use, and from the stack that writing the result as JSON needs.
  const MAX_DEPTH = 100;
  const MARKUP = "<", SPACES = " \t\n", SPACE = "[ \\t\\r\\n]";
  const START_CHARACTERS =
    ":A-Z_a-z\\u{C0}-\\u{D6}\\u{D8}-\\u{F6}\\u{F8}-\\u{2FF}\\u{370}-\\u{37D}\\u{37F}-\\u{1FFF}\\u{200C}-\\u{200D}"
    + "\\u{2070}-\\u{218F}\\u{2C00}-\\u{2FEF}\\u{3001}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFFD}\\u{10000}-\\u{EFFFF}";
  const NAME = `([${START_CHARACTERS}][${START_CHARACTERS}\\-.0-9\\u{B7}\\u{300}-\\u{36F}\\u{203F}-\\u{2040}]*)`;
  const ESCAPED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  const CANONICAL_NUMBER = /^(?:0|-?[1-9]\d*|-?(?:0|[1-9]\d*)\.\d+)(?:[eE][+-]?\d+)?$/;
  const FORBIDDEN = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

  const compile = (pattern) => new RegExp(pattern, "uy");
  // Made when the first document is read: who reads none does not pay for them with every context.
  let grammar = null;
  const makeGrammar = () => ({
    declaration: compile(
      `<\\?xml${SPACE}+version${SPACE}*=${SPACE}*(?:"1\\.\\d"|'1\\.\\d')`
        + `(?:${SPACE}+encoding${SPACE}*=${SPACE}*(?:"[\\w.\\-]+"|'[\\w.\\-]+'))?`
        + `(?:${SPACE}+standalone${SPACE}*=${SPACE}*(?:"(?:yes|no)"|'(?:yes|no)'))?${SPACE}*\\?>`,
    ),
    instruction: compile(`<\\?${NAME}(?=${SPACE}|\\?>)`),
    open: compile(`<${NAME}`),
    attribute: compile(`${SPACE}+${NAME}${SPACE}*=${SPACE}*(?:"([^<"]*)"|'([^<']*)')`),
    // The whole tag where it has no attributes, as most have none.
    bare: compile(`<${NAME}(/?)>`),
    openEnd: compile(`${SPACE}*(/?)>`),
    close: compile(`</${NAME}${SPACE}*>`),
  });

  const convert = (text) => {
    if (text === "true" || text === "false") return text === "true";
    if (!CANONICAL_NUMBER.test(text)) return text;
    const number = Number(text);
    // Digits that a number cannot hold stay text.
    return Number.isSafeInteger(number) || (text.includes(".") && Number.isFinite(number)) ? number : text;
  };

  // String.prototype.trim takes away more than XML's space.
  const trim = (text) => {
    let start = 0, end = text.length;
    while (start < end && SPACES.includes(text[start])) start += 1;
    while (end > start && SPACES.includes(text[end - 1])) end -= 1;
    return text.slice(start, end);
  };

  // Names may repeat: then the value is a list. None of the values that are added is a list itself.
  const add = (members, name, value) => {
    const present = members.get(name);
    if (present === undefined) members.set(name, value);
    else if (Array.isArray(present)) present.push(value);
    else members.set(name, [present, value]);
  };

  // One document on its way to an object. No recursion: depth costs memory, which is bounded.
  class Reader {
    constructor(text) {
      this.text = (text[0] === "\uFEFF" ? text.slice(1) : text).replace(/\r\n?/g, "\n");
      this.at = 0;
      this.root = new Map();
      // Elements that are open: name, members, the text since the last markup that ends a run of it, and which parts of
      // that are literal, if any.
      this.open = [];
    }

    fail(what, at = this.at) {
      const lines = this.text.slice(0, at).split("\n");
      throw new SyntaxError(`util.xml: line ${lines.length}, column ${lines.at(-1).length + 1}: ${what}`);
    }

    match(pattern) {
      pattern.lastIndex = this.at;
      const found = pattern.exec(this.text);
      if (found !== null) this.at = pattern.lastIndex;
      return found;
    }

    // What is between here and the end mark; goes on behind it.
    until(mark, what) {
      const end = this.text.indexOf(mark, this.at);
      if (end < 0) this.fail(`${what} is not closed`);
      const inner = this.text.slice(this.at, end);
      this.at = end + mark.length;
      return inner;
    }

    decode(raw) {
      if (!raw.includes("&")) return raw;
      return raw.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|([^;&]*));|&/g, (reference, decimal, hexadecimal, name) => {
        if (name !== undefined && Object.hasOwn(ESCAPED, name)) return ESCAPED[name];
        if (decimal === undefined && hexadecimal === undefined) this.fail(`'${reference.slice(0, 20)}' is no known entity`);
        const code = decimal === undefined ? Number("0x" + hexadecimal) : Number(decimal);
        if (code > 0x10ffff || FORBIDDEN.test(String.fromCodePoint(code))) this.fail(`${reference} is no character`);
        return String.fromCodePoint(code);
      });
    }

    read() {
      const bad = FORBIDDEN.exec(this.text);
      if (bad !== null) this.fail("a character that XML does not have", bad.index);
      this.match(grammar.declaration);
      while (this.at < this.text.length) {
        if (this.text[this.at] === MARKUP) this.readMarkup();
        else this.readText();
      }
      if (this.open.length) this.fail(`<${this.open.at(-1).name}> is not closed`);
      if (this.root.size === 0) this.fail("there is no element");
      return Object.fromEntries(this.root);
    }

    readText() {
      const end = this.text.indexOf(MARKUP, this.at);
      const raw = this.text.slice(this.at, end < 0 ? this.text.length : end);
      if (raw.includes("]]>")) this.fail("`]]>` in text");
      if (this.open.length === 0 && trim(raw) !== "") this.fail("text outside of an element");
      if (this.open.length) this.open.at(-1).run.push(this.decode(raw));
      this.at += raw.length;
    }

    readMarkup() {
      const starts = (mark) => this.text.startsWith(mark, this.at);
      if (starts("<!--")) {
        this.at += 4;
        const comment = this.until("-->", "a comment");
        if (comment.includes("--") || comment.endsWith("-")) this.fail("`--` in a comment");
      } else if (starts("<![CDATA[")) {
        if (this.open.length === 0) this.fail("text outside of an element");
        this.at += 9;
        const element = this.open.at(-1);
        (element.literals ??= new Set()).add(element.run.length);
        element.run.push(this.until("]]>", "a CDATA section"));
      } else if (starts("<!")) {
        this.fail("document types are not read");
      } else if (starts("<?")) {
        const target = this.match(grammar.instruction);
        if (target === null || target[1].toLowerCase() === "xml") this.fail("a misplaced or wrong `<?`");
        this.until("?>", "an instruction");
      } else if (starts("</")) {
        this.readClose();
      } else {
        this.readOpen();
      }
    }

    readOpen() {
      const start = this.at;
      const bare = this.match(grammar.bare);
      const found = bare ?? this.match(grammar.open);
      if (found === null) this.fail("`<` is not followed by a name");
      const [, name] = found;
      if (this.open.length === 0 && this.root.size > 0) this.fail("a second element at the top", start);
      if (this.open.length === MAX_DEPTH) this.fail(`elements are nested deeper than ${MAX_DEPTH}`, start);
      if (this.open.length) this.endRun(this.open.at(-1));
      const members = new Map();
      const end = bare === null ? this.readAttributes(name, members, start) : bare[2];
      this.open.push({ name, members, run: [], literals: null });
      if (end) this.endElement();
    }

    // Up to the tag's end: `/` of an element without content, or nothing.
    readAttributes(name, members, start) {
      for (let attribute = this.match(grammar.attribute); attribute; attribute = this.match(grammar.attribute)) {
        if (members.has(attribute[1])) this.fail(`the attribute ${attribute[1]} is there twice`, start);
        const raw = attribute[2] ?? attribute[3];
        members.set(attribute[1], convert(this.decode(raw.replace(/[\t\n]/g, " "))));
      }
      const end = this.match(grammar.openEnd);
      if (end === null) this.fail(`<${name}> has something else than attributes`);
      return end[1];
    }

    readClose() {
      const name = this.open.at(-1)?.name;
      const usual = `</${name}>`;
      if (name !== undefined && this.text.startsWith(usual, this.at)) this.at += usual.length;
      else if (this.match(grammar.close)?.[1] !== name || name === undefined) {
        this.fail(name === undefined ? "nothing is open" : `expected ${usual}`);
      }
      this.endElement();
    }

    // Text up to markup that ends it. Literal parts stay as they are; other text loses the space around it.
    endRun(element) {
      const { run, literals } = element;
      if (run.length === 0) return;
      element.run = [];
      element.literals = null;
      const value = literals
        ? run.filter((part, index) => literals.has(index) || trim(part) !== "").join("")
        : convert(trim(run.join("")));
      if (value !== "") add(element.members, "content", value);
    }

    endElement() {
      const element = this.open.pop();
      const hadMembers = element.members.size > 0;
      this.endRun(element);
      const { name, members } = element;
      const onlyText = !hadMembers && members.size === 1;
      const value = members.size === 0 ? "" : onlyText ? members.get("content") : Object.fromEntries(members);
      add(this.open.length ? this.open.at(-1).members : this.root, name, value);
    }
  }

  const toMap = (text) => {
    if (host.isNull(text)) return null;
    if (typeof text !== "string") host.refuse("util.xml", "the text of a document", text);
    grammar ??= makeGrammar();
    return new Reader(text).read();
  };

  util.xml = {
    toMap,
    toJsonString: (text, stringEncode) => {
      const json = JSON.stringify(toMap(text));
      return stringEncode === true ? JSON.stringify(json) : json;
    },
  };
}
