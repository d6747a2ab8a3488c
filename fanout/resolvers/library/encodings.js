// util.urlEncode, urlDecode, base64Encode, base64Decode, escapeJavaScript; util.str. Texts are UTF-8.
// Source: AppSync developer guide, "Built-in utilities" and "String helpers"; where it says no more, what Java's
// URLEncoder, URLDecoder and Apache Commons' escapeEcmaScript do.
(host, util) => {
  "use strict";
  const { atob, btoa } = globalThis;
  const FORMS = ["NFC", "NFD", "NFKC", "NFKD"];
  // Half a pair cannot be written in UTF-8; Java writes a question mark.
  const HALF_PAIR = new RegExp("\\p{Surrogate}", "gu");
  const toText = (value, name) => {
    if (typeof value !== "string") host.refuse(name, "a string", value);
    return value;
  };
  const percentEncode = (text) => encodeURIComponent(text.replace(HALF_PAIR, "?"));
  // One character per byte.
  const toBytes = (text) => unescape(percentEncode(text));
  const isFollowing = (byte) => (byte & 0xc0) === 0x80;

  // What is not UTF-8 becomes U+FFFD, once for each longest beginning of a character (Unicode 3.9, table 3-8).
  const fromBytes = (bytes) => {
    try {
      return decodeURIComponent(escape(bytes));
    } catch {
      let text = "";
      for (let at = 0; at < bytes.length;) {
        const first = bytes.charCodeAt(at);
        at += 1;
        if (first < 0x80) {
          text += String.fromCharCode(first);
          continue;
        }
        const more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2
          : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
        let point = first & (0x3f >> more), left = more;
        while (left && at < bytes.length) {
          const byte = bytes.charCodeAt(at);
          const isSecond = left === more;
          if (!isFollowing(byte)
            || (isSecond && ((first === 0xe0 && byte < 0xa0) || (first === 0xed && byte > 0x9f)
              || (first === 0xf0 && byte < 0x90) || (first === 0xf4 && byte > 0x8f)))) break;
          point = (point << 6) | (byte & 0x3f);
          left -= 1;
          at += 1;
        }
        text += more && !left ? String.fromCodePoint(point) : "\ufffd";
      }
      return text;
    }
  };

  util.urlEncode = (value) => percentEncode(toText(value, "util.urlEncode"))
    .replace(/%20/g, "+")
    .replace(/[!'()~]/g, (sign) => "%" + sign.charCodeAt(0).toString(16).toUpperCase());
  util.urlDecode = (value) => fromBytes(
    toBytes(toText(value, "util.urlDecode").replace(/\+/g, " ")).replace(/%(..?)?/gs, (found, digits) => {
      if (!digits || !/^[0-9a-f]{2}$/i.test(digits)) {
        throw new URIError(`util.urlDecode: "${found}" is not a percent sign and two hexadecimal digits.`);
      }
      return String.fromCharCode(parseInt(digits, 16));
    }),
  );
  util.base64Encode = (value) => btoa(toBytes(toText(value, "util.base64Encode")));
  // Both alphabets, with or without padding.
  util.base64Decode = (value) => {
    const text = toText(value, "util.base64Decode").replace(/-/g, "+").replace(/_/g, "/").replace(/\s/g, "");
    const bare = text.replace(/=+$/, "");
    if (/[^A-Za-z0-9+/]/.test(bare) || bare.length % 4 === 1) {
      throw new URIError("util.base64Decode: the text is not base64.");
    }
    return fromBytes(atob(bare + "=".repeat(-bare.length & 3)));
  };
  const ESCAPES = { "\b": "\\b", "\n": "\\n", "\t": "\\t", "\f": "\\f", "\r": "\\r" };
  util.escapeJavaScript = (value) => toText(value, "util.escapeJavaScript").replace(
    /['"\\/]|[^ -\x7f]/g,
    (sign) => {
      if (sign >= " " && sign <= "\x7f") return "\\" + sign;
      return ESCAPES[sign] ?? "\\u" + sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    },
  );

  util.str = {
    toUpper: (value) => toText(value, "util.str.toUpper").toUpperCase(),
    toLower: (value) => toText(value, "util.str.toLower").toLowerCase(),
    toReplace: (value, found, replacement) => {
      const text = toText(replacement, "util.str.toReplace");
      return toText(value, "util.str.toReplace").replaceAll(toText(found, "util.str.toReplace"), () => text);
    },
    normalize: (value, form) => {
      const name = toText(form, "util.str.normalize").toUpperCase();
      if (!FORMS.includes(name)) {
        throw new RangeError(`util.str.normalize: "${form}" is not one of nfc, nfd, nfkc, nfkd.`);
      }
      return toText(value, "util.str.normalize").normalize(name);
    },
  };
}
