"""Cases whose results Java gave: makes `java_cases.json`, which `test_java.py` holds the library to.

Run by hand, with a JDK (11 or later) on the path, when there are to be other cases:
`python -m tests.fanout.resolvers.library.java_cases`.
"""

from __future__ import annotations

import base64
import random
import subprocess
import tempfile
from pathlib import Path

import orjson

FILE = Path(__file__).with_suffix(".json")
SEED = 2026

ZONES = ["UTC", "Z", "+08:00", "-03:30", "-07:00:30", "UTC+2", "Europe/Berlin", "America/New_York", "Australia/Perth"]
LETTERS = "GuyYQqMLwDdEecahHKkmsSAnNOXxZ"
DATES = [
    *("yyyy-MM-dd", "yyyyMMdd", "d MMM uuuu", "EEEE, MMMM d, y", "yyyy-DDD", "M/d/yyyy", "QQQ yyyy MM dd", "uuuuDDD"),
    *("yy-MM-dd", "y-M-d", "dd.MM.yyyy", "EEE MMM dd yyyy", "u/M/d", "yyyy-MM", "MMM d", "e yyyy-MM-dd"),
    *("yyyy MM dd G", "DD yyyy", "D yyyy", "L d y", "yyy-MM-dd", "yyyyy-MM-dd"),
]
TIMES = [
    *("HH:mm:ss.SSS", "hh:mm:ss.SSS a", "HHmmssSSS", "A", "K:m:s.SSSSSS a", "kk'h'mm'm'ss.SSSSSSSSS", "H:mm", "Hmm"),
    *("HHmm", "h a", "HH:mm[:ss]", "k:m", "HH", "HH:ss", "hh:mm", "N", "HH:mm:ss n", "HHmmss", "H:m:s.S", "a hh:mm"),
]
OFFSETS = [*("X", "XX", "XXX", "XXXX", "XXXXX", "x", "xxx", "xxxxx", "Z", "ZZZZ", "ZZZZZ", "O", "VV"), *[""] * 5]
PIECES = [
    *("a", "b", "c", "A", "1", " ", "-", "_", ".", r"\.", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", "[abc]", "[^a]"),
    *("[a-c1-3]", r"[\w.-]", r"[\]\-a]", "[a&b]", "[.]", "(a|b)", "(?:ab|a)", "(?<n>a)", "^", "$", r"\b", r"\A"),
    *(r"\z", r"\Z", r"\h", r"\p{Alpha}", r"\p{Punct}", r"\P{Alpha}", r"\p{L}", r"\p{Lu}", r"\pL", r"\p{IsAlphabetic}"),
    *(r"\p{Upper}", r"\Qa.b\E", r"\@", r"\-", "/", "]", "}", r"\R", r"\t", r"\x41", r"\u0041", "\U0001f600"),
    *(r"[\p{Alpha}1]", r"[^\d]", "[a-]", "[-a]", r"\{", "[{}]", "[()]", r"\_", r"\ "),
]
QUANTIFIERS = [*[""] * 4, *("*", "+", "?", "{2}", "{1,2}", "{1,}", "*?", "+?", "??")]
SIGNS = "abcAB1 -_.@]}{/\U0001f600\n\t"

PROGRAM = """
import java.io.*; import java.net.*; import java.nio.charset.StandardCharsets; import java.time.*;
import java.time.format.*; import java.util.*; import java.util.regex.*;
public class Cases {
  static String read(String text) { return new String(Base64.getDecoder().decode(text), StandardCharsets.UTF_8); }
  static String run(String[] p) throws Exception {
    switch (read(p[0])) {
      case "format": return DateTimeFormatter.ofPattern(read(p[2]), Locale.US)
        .format(Instant.ofEpochMilli(Long.parseLong(read(p[1]))).atZone(ZoneId.of(read(p[3]))));
      case "parse": return "" + ZonedDateTime.from(DateTimeFormatter.ofPattern(read(p[2]), Locale.US)
        .withZone(ZoneId.of(read(p[3]))).parse(read(p[1]))).toInstant().toEpochMilli();
      case "matches": return "" + Pattern.matches(read(p[1]), read(p[2]));
      case "urlEncode": return URLEncoder.encode(read(p[1]), "UTF-8");
      default: throw new IllegalStateException();
    }
  }
  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = lines.readLine()) != null;) {
      String result;
      try { result = "=" + run(line.split(" ", -1)); } catch (RuntimeException error) { result = "!"; }
      System.out.println(Base64.getEncoder().encodeToString(result.getBytes(StandardCharsets.UTF_8)));
    }
  }
}
"""

Case = list[str]


def ask_java(cases: list[Case]) -> list[str | None]:
    """What Java gives for each, None for an error."""
    lines = "\n".join(" ".join(base64.b64encode(part.encode()).decode() for part in case) for case in cases)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "Cases.java"
        source.write_text(PROGRAM)
        run = subprocess.run(["java", str(source)], input=lines, capture_output=True, text=True, check=True)
    results = [base64.b64decode(line).decode() for line in run.stdout.split()]
    return [result[1:] if result[0] == "=" else None for result in results]


def mutate(chosen: random.Random, text: str) -> str:
    at = chosen.randrange(len(text))
    sign = chosen.choice("0123456789 :-+ZaPM")
    return chosen.choice([text[:at] + sign + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + sign + text[at:]])


def make() -> list[tuple[Case, str | None]]:
    chosen = random.Random(SEED)

    def instant() -> str:
        return str(chosen.randint(0, 1_900_000_000_000))

    cases: list[Case] = []
    for _ in range(900):
        counts = [chosen.choice([1, 1, 2, 2, 3, 4, 5]) for _ in range(chosen.randint(1, 4))]
        pattern = chosen.choice("- /,").join(chosen.choice(LETTERS) * count for count in counts)
        cases.append(["format", instant(), pattern, chosen.choice(ZONES)])
    dated = []
    for _ in range(700):
        pattern = chosen.choice(DATES) + chosen.choice([" ", "'T'", "", " "]) + chosen.choice(TIMES)
        offset = chosen.choice(OFFSETS)
        pattern += " " + offset if offset and chosen.random() < 0.7 else offset
        dated.append(["format", instant(), pattern, chosen.choice(ZONES)])
    for (_, _, pattern, _), text in zip(dated, ask_java(dated), strict=True):
        if text:
            text = mutate(chosen, text) if chosen.random() < 0.5 else text
            cases.append(["parse", text, pattern, chosen.choice(ZONES)])
    for _ in range(1200):
        pattern = "".join(chosen.choice(PIECES) + chosen.choice(QUANTIFIERS) for _ in range(chosen.randint(1, 3)))
        if pattern.count("<n>") < 2:
            pattern = chosen.choice(["", "", "", "", "(?i)", "(?s)", "(?m)"]) + pattern
            text = "".join(chosen.choice(SIGNS) for _ in range(chosen.randint(0, 3)))
            cases.append(["matches", pattern, text])
    cases += [["urlEncode", "".join(chosen.choice(SIGNS + "~!*'()&=+%") for _ in range(12))] for _ in range(40)]
    results = list(zip(cases, ask_java(cases), strict=True))
    # Most random patterns match nothing: of those a fifth is enough.
    return [pair for at, pair in enumerate(results) if pair[1] not in ("false", None) or at % 5 == 0]


if __name__ == "__main__":
    pairs = make()
    FILE.write_bytes(b"[\n" + b",\n".join(orjson.dumps(pair) for pair in pairs) + b"\n]\n")
    print(len(pairs), "cases")
