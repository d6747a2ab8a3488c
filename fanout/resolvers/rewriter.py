"""A resolver's ES module -> the body of a function that returns what it exports. Knows no sandbox's inside, no file.

QuickJS is embedded without a module loader, and one module is all that a resolver has: `import` can only mean
`@aws-appsync/utils`, which becomes variables, and `export` becomes what the body returns. Everything else stays in its
line and column, so that what JavaScript says of places is true of the file:

    import { util as u } from '@aws-appsync/utils'   const {"util":u} = __import("@aws-appsync/utils");  (a line before)
    export function request(ctx) { ... }                    function request(ctx) { ... }
    export { after as response }                     (blank)
                                                     return {["request"]:request,["response"]:after};
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from fanout.errors import ConfigurationError
from fanout.resolvers.sandbox import note_uses
from fanout.resolvers.scanner import Bracket, Kind, ScanError, Token, scan

UTILS: Final = "@aws-appsync/utils"
EXPORTED_BY_UTILS: Final = ("util", "extensions", "runtime")

_BUNDLE: Final = (
    f"bundle the module into one file first: `esbuild FILE --bundle --format=esm --external:{UTILS} --outfile=...`"
)
_TYPESCRIPT: Final = "TypeScript is not run: compile it with esbuild, see docs/resolvers.md"
_ESCAPE: Final = re.compile(r"\\(?:u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\s\S]))")
_LINE_END: Final = re.compile(r"\r\n|\n")
_NOT_NEWLINE: Final = re.compile(r"[^\r\n]")


class ModuleError(ConfigurationError):
    """A module that cannot be used; `line` and `column` are 1-based and 0 where unknown."""

    def __init__(self, message: str, *, file: str, line: int = 0, column: int = 0) -> None:
        where = f"{file}:{line}:{column}" if line else file
        super().__init__(f"{where}: {message}")
        self.message = message
        self.file = file
        self.line = line
        self.column = column


def rewrite_module(source: str, file: str) -> str:
    """The module as a function body for `Sandbox`: one line of imports, the module's own lines, a `return`.

    Args:
        source: its text; a byte order mark, CRLF and a `#!` line are fine.
        file: its name in errors.

    Raises:
        ModuleError: it is no module, or imports or exports in a way that resolvers cannot have.
    """
    source = source.removeprefix("\ufeff")
    if source.startswith("#!"):
        first, newline, rest = source.partition("\n")
        source = _blank(first) + newline + rest
    try:
        return _Rewriting(source).run()
    except ScanError as error:
        line, column = _locate(source, error.offset)
        raise ModuleError(error.message, file=file, line=line, column=column) from None


class _Rewriting:
    """One module; walks over the tokens at depth 0."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = scan(source)
        self._at = 0
        self._imports: list[str] = []
        self._exports: dict[str, str] = {}  # exported name -> local name
        self._utils = {"util"}  # local names of `util`, which is there as a global, too
        self._has_all = False  # whether the module imports a namespace
        self._blanks: list[tuple[int, int]] = []  # what is not there any more, from offset to offset

    def run(self) -> str:
        while (token := self._tokens[self._at]).kind is not Kind.END:
            if token.kind is Kind.WORD and token.text in ("import", "export", "return", "await"):
                self._take(token)
            else:
                self._at += 1
        parts: list[str] = []
        at = 0
        for start, end in self._blanks:
            text = self._source[start:end]
            # What stands around a whole statement may not become one by its going away.
            parts += self._source[at:start], _blank(text) if text == "export" else ";" + _blank(text[1:])
            at = end
        exports = ",".join(f"[{_quote(name)}]:{local}" for name, local in self._exports.items())
        first = note_uses(self._list_uses()) + "".join(self._imports)
        return f"{first}\n{''.join(parts)}{self._source[at:]}\nreturn {{{exports}}};"

    def _list_uses(self) -> set[str] | None:
        """What is used of `util`, by name; None: it may be anything, as it is passed on or got at in some other way."""
        if self._has_all or any("\\" in token.text for token in self._tokens if token.kind is Kind.WORD):
            return None
        uses = set()
        for index, token in enumerate(self._tokens):
            if token.kind is not Kind.WORD or self._is_in_import(token):
                continue
            if token.text == "globalThis":
                return None
            if token.text not in self._utils:
                continue
            if self._tokens[index + 1].text not in (".", "?.") or self._tokens[index + 2].kind is not Kind.WORD:
                return None
            uses.add(self._tokens[index + 2].text)
        return uses

    def _is_in_import(self, token: Token) -> bool:
        return any(start <= token.start < end for start, end in self._blanks)

    def _take(self, token: Token) -> None:
        following = self._tokens[self._at + 1]
        before = self._tokens[self._at - 1].text if self._at else ""
        if before in (".", "?.") or following.text == ":" or self._is_method(token, following):
            self._at += 1
        elif token.text == "import" and following.text == "(":
            raise ScanError(f"import() is not there for resolvers: {_BUNDLE}", token.start)
        elif token.text == "import" and following.text == ".":
            raise ScanError("import.meta is not there for resolvers", token.start)
        elif token.depth:
            if token.text in ("import", "export"):
                raise ScanError(f"`{token.text}` stands only at the top of a module", token.start)
            self._at += 1
        elif token.text == "import":
            self._take_import()
        elif token.text == "export":
            self._take_export()
        else:
            raise ScanError(f"`{token.text}` stands only in a function", token.start)

    def _is_method(self, token: Token, following: Token) -> bool:
        if token.around not in (Bracket.OBJECT, Bracket.CLASS):
            return False
        before = self._tokens[self._at - 1].text
        return before in ("{", ",", ";", "}", "*", "async", "get", "set", "static") or following.text in (",", "}", "=")

    # Imports.

    def _take_import(self) -> None:
        start = self._next()
        self._check_source()
        if self._peek().kind is not Kind.STRING:
            self._imports.append(f"const {self._read_clause()}=__import({_quote(UTILS)});")
            self._expect("from")
        self._next()
        self._end(start)

    def _read_clause(self) -> str:
        token = self._peek()
        if token.text == "*":
            self._next()
            self._expect("as")
            local = self._read_name()
            self._has_all = True
        elif token.text == "{":
            wanted = self._read_list()
            local = "{" + ",".join(f"{_quote(name)}:{alias}" for name, alias in wanted.items()) + "}"
        elif token.text == "type" and self._tokens[self._at + 1].text in ("{", "*"):
            raise ScanError(_TYPESCRIPT, token.start)
        else:
            raise ScanError(f"write `import {{ util }} from '{UTILS}'`: it has no default export", token.start)
        return local

    def _read_list(self) -> dict[str, str]:
        """`{ util as u, runtime }`: local names by imported ones."""
        self._expect("{")
        wanted: dict[str, str] = {}
        while self._peek().text != "}":
            token = self._peek()
            name = self._read_export_name()
            if name not in EXPORTED_BY_UTILS:
                known = ", ".join(EXPORTED_BY_UTILS)
                if name == "type" and self._peek().kind is Kind.WORD:
                    raise ScanError(_TYPESCRIPT, token.start)
                raise ScanError(f"{UTILS} exports no `{name}`: there are {known}", token.start)
            local = self._read_name() if self._skip("as") else name
            if name == "util":
                self._utils.add(local)
            if name in wanted:  # once more, by another name
                self._imports.append(f"const {local}=__import({_quote(UTILS)})[{_quote(name)}];")
            else:
                wanted[name] = local
            if not self._skip(","):
                break
        self._expect("}")
        return wanted

    def _check_source(self) -> None:
        """What is imported from, before what: a wrong name matters less."""
        at = self._at
        while (token := self._tokens[at]).kind is not Kind.STRING or token.depth:
            if token.kind is Kind.END or token.text == ";":
                raise ScanError("expected the name of a module in quotes", token.start)
            at += 1
        name = _unquote(token.text)
        if name.startswith(f"{UTILS}/"):
            raise ScanError(
                f"there is no `{name}`: resolvers have no data source of that kind yet; what to do instead is in "
                'docs/from-appsync.md, "What is not there yet"',
                token.start,
            )
        if name != UTILS:
            raise ScanError(f"resolvers can import `{UTILS}` only, not `{name}`: {_BUNDLE}", token.start)

    # Exports.

    def _take_export(self) -> None:
        start = self._next()
        token = self._peek()
        if token.text == "{":
            self._take_export_list(start)
        elif token.text == "default":
            raise ScanError("resolvers export by name: `export function request(ctx) { ... }`", token.start)
        elif token.text == "*":
            raise ScanError(f"resolvers cannot export from other modules: {_BUNDLE}", token.start)
        elif token.text in ("function", "class", "async"):
            self._blanks.append((start.start, start.end))
            at = self._at + (2 if token.text == "async" else 1)
            at += self._tokens[at].text == "*"
            self._add_export(self._tokens[at], self._tokens[at].text, self._tokens[at].text)
        elif token.text in ("const", "let", "var"):
            self._blanks.append((start.start, start.end))
            self._next()
            self._read_declarations()
        else:
            raise ScanError("expected a function, const, let, var, class or { ... } after `export`", token.start)

    def _take_export_list(self, start: Token) -> None:
        self._expect("{")
        while self._peek().text != "}":
            token = self._peek()
            local = self._read_name()
            name = self._read_export_name() if self._skip("as") else local
            if name == "default":
                raise ScanError("resolvers export by name: `export { handler as request }`", token.start)
            self._add_export(token, name, local)
            if not self._skip(","):
                break
        self._expect("}")
        if self._peek().text == "from":
            raise ScanError(f"resolvers cannot export from other modules: {_BUNDLE}", self._peek().start)
        self._end(start)

    def _read_declarations(self) -> None:
        """`a = 1, b = () => {...}`: the names, up to the end of the statement, which is written or not."""
        while True:
            token = self._next()
            if token.kind is not Kind.WORD:
                raise ScanError("export simple names: `export const request = ...`", token.start)
            self._add_export(token, token.text, token.text)
            while not self._ends_declarator():
                token = self._peek()
                if token.text in ("import", "export") and (token.depth or not token.after_newline):
                    self._take(token)
                else:
                    self._at += 1
            if not self._skip(","):
                return

    def _ends_declarator(self) -> bool:
        token, last = self._peek(), self._tokens[self._at - 1]
        if token.kind is Kind.END or token.text == ";":
            return True
        if token.depth:
            return False
        if token.text == ",":
            return True
        if not token.after_newline or not (last.ends_operand or last.text == "}"):
            return False
        if token.kind is Kind.WORD:
            return token.text not in ("in", "instanceof")
        return token.kind in (Kind.NUMBER, Kind.STRING, Kind.REGEX) or token.text in ("{", "++", "--")

    def _add_export(self, token: Token, name: str, local: str) -> None:
        if token.kind is not Kind.WORD:
            raise ScanError("expected a name to export", token.start)
        if name in self._exports:
            raise ScanError(f"`{name}` is exported twice", token.start)
        self._exports[name] = local

    # Tokens.

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind is not Kind.END:
            self._at += 1
        return token

    def _skip(self, text: str) -> bool:
        is_there = self._peek().text == text
        self._at += is_there
        return is_there

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.text != text:
            raise ScanError(f"expected `{text}`, not `{token.text or 'the end'}`", token.start)

    def _read_name(self) -> str:
        token = self._next()
        if token.kind is not Kind.WORD:
            raise ScanError(f"expected a name, not `{token.text or 'the end'}`", token.start)
        return token.text

    def _read_export_name(self) -> str:
        return _unquote(self._next().text) if self._peek().kind is Kind.STRING else self._read_name()

    def _end(self, start: Token) -> None:
        """End a statement that is to be blank."""
        token = self._peek()
        if token.kind is not Kind.END and token.text != ";" and not token.after_newline:
            raise ScanError(f"expected `;` before `{token.text}`", token.start)
        if not token.after_newline:
            self._skip(";")
        self._blanks.append((start.start, self._tokens[self._at - 1].end))


def _blank(text: str) -> str:
    return _NOT_NEWLINE.sub(" ", text)


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()


def _unquote(literal: str) -> str:
    def resolve(found: re.Match[str]) -> str:
        braced, four, two, other = found.groups()
        code = braced or four or two
        return chr(int(code, 16)) if code else other

    return _ESCAPE.sub(resolve, literal[1:-1])


def _locate(source: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset, both from 1."""
    line, start = 1, 0
    for found in _LINE_END.finditer(source, 0, offset):
        line, start = line + 1, found.end()
    return line, offset - start + 1
