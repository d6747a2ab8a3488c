// util.autoId, autoUlid, autoKsuid; util.math.
// Source: AppSync developer guide, "ID generation utils" and "Math helpers".
//
// Chance comes from the bytes that the host gives each call. The first 32 are the key of a ChaCha20 stream (RFC 8439,
// with a nonce of zeros: a key is used for one call), so that who sees ids cannot work out others. What is given beyond
// them is drawn first: enough for an id, since a block of the stream takes 90 us. A call that is made again with
// answers draws the same numbers again.
(host, util) => {
  "use strict";
  const ROUNDS = 10, WORDS = 16;
  const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const KSUID_EPOCH_SECONDS = 1400000000;

  // RFC 8439, section 2.3: one block of the stream, as 64 numbers.
  const computeBlock = (key, counter) => {
    const start = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, ...key, counter, 0, 0, 0];
    const x = start.slice();
    const mix = (a, b, c, d) => {
      let word;
      x[a] = (x[a] + x[b]) | 0; word = x[d] ^ x[a]; x[d] = (word << 16) | (word >>> 16);
      x[c] = (x[c] + x[d]) | 0; word = x[b] ^ x[c]; x[b] = (word << 12) | (word >>> 20);
      x[a] = (x[a] + x[b]) | 0; word = x[d] ^ x[a]; x[d] = (word << 8) | (word >>> 24);
      x[c] = (x[c] + x[d]) | 0; word = x[b] ^ x[c]; x[b] = (word << 7) | (word >>> 25);
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      mix(0, 4, 8, 12); mix(1, 5, 9, 13); mix(2, 6, 10, 14); mix(3, 7, 11, 15);
      mix(0, 5, 10, 15); mix(1, 6, 11, 12); mix(2, 7, 8, 13); mix(3, 4, 9, 14);
    }
    const bytes = [];
    for (let at = 0; at < WORDS; at += 1) {
      const word = (x[at] + start[at]) | 0;
      bytes.push(word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24);
    }
    return bytes;
  };
  const readBytes = (hex) => {
    const bytes = [];
    for (let at = 0; at < hex.length; at += 2) bytes.push(parseInt(hex.slice(at, at + 2), 16));
    return bytes;
  };
  const readKey = (hex) => {
    const bytes = readBytes(hex);
    return [0, 4, 8, 12, 16, 20, 24, 28].map(
      (at) => bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24),
    );
  };
  const KEY_DIGITS = 64;
  // The next bytes of the call's chance.
  const draw = (count) => {
    const { entropy } = host.call;
    const stream = (host.call.chance ??= { key: null, counter: 0, left: readBytes(entropy.slice(KEY_DIGITS)) });
    while (stream.left.length < count) {
      stream.key ??= readKey(entropy.slice(0, KEY_DIGITS));
      stream.left.push(...computeBlock(stream.key, stream.counter++));
    }
    return stream.left.splice(0, count);
  };
  const drawDouble = () => {
    const bytes = draw(7);
    return bytes.reduce((sum, byte, at) => sum * 256 + (at ? byte : byte & 0x1f), 0) / 2 ** 53;
  };

  const toHex = (bytes) => bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const toNumber = (bytes) => BigInt("0x" + toHex(bytes));
  const write = (number, digits, length) => {
    const base = BigInt(digits.length);
    let text = "";
    for (let left = number; text.length < length; left /= base) text = digits[Number(left % base)] + text;
    return text;
  };

  host.draw = draw; // the tests compare the stream with that of others
  // RFC 9562, section 5.4: version 4.
  util.autoId = () => {
    const bytes = draw(16);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = toHex(bytes);
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
  };
  // 48 bits of milliseconds, 80 of chance.
  util.autoUlid = () => write((BigInt(host.now()) << 80n) | toNumber(draw(10)), CROCKFORD, 26);
  // 32 bits of seconds since May 2014, 128 of chance.
  util.autoKsuid = () => {
    const seconds = BigInt(Math.floor(host.now() / 1000) - KSUID_EPOCH_SECONDS);
    return write((seconds << 128n) | toNumber(draw(16)), BASE62, 27);
  };

  const check = (name, ...values) => {
    for (const value of values) if (typeof value !== "number") host.refuse(`util.math.${name}`, "numbers", value);
  };
  util.math = {
    // Halves go up, as Java's Math.round has it.
    roundNum: (value) => {
      check("roundNum", value);
      return Math.round(value);
    },
    minVal: (one, other) => {
      check("minVal", one, other);
      return Math.min(one, other);
    },
    maxVal: (one, other) => {
      check("maxVal", one, other);
      return Math.max(one, other);
    },
    randomDouble: drawDouble,
    // From the lower value on, below the upper one.
    randomWithinRange: (lower, upper) => {
      check("randomWithinRange", lower, upper);
      const from = Math.ceil(lower), to = Math.floor(upper);
      if (from > to) throw new RangeError(`util.math.randomWithinRange: ${lower} is above ${upper}.`);
      return from + Math.floor(drawDouble() * (to - from));
    },
  };
}
