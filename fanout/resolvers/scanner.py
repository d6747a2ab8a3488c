"""JavaScript text -> its tokens with their brackets: enough to find statements, no more. Knows no module.

A slash is the hard part: a division or a regular expression, by what stands before it (ECMA-262 section 12, goals of
the lexical grammar). That is known without a parser only if one keeps for each bracket what it is: a block or an
object, the head of an `if` or an operand, the body of a function that is an operand or a statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Kind(Enum):
    """What a token is; `TEMPLATE` is one for each piece of text between substitutions."""

    WORD = "word"
    NUMBER = "number"
    STRING = "string"
    TEMPLATE = "template"
    REGEX = "regex"
    SIGN = "sign"
    END = "end"


class Bracket(Enum):
    """What the bracket around a token is."""

    BLOCK = "block"
    OBJECT = "object"
    CLASS = "class"
    PAREN = "paren"
    HEAD = "head"  # of if, while, for, with: what follows is a statement
    SQUARE = "square"
    SUBSTITUTION = "substitution"  # ${...}


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Args:
        kind: what it is.
        text: as written.
        start: offset of its first character.
        depth: how many brackets are around it; an opening or closing one counts as outside of itself.
        around: the innermost of them; None at depth 0.
        after_newline: whether a line ends between it and the token before it.
        ends_operand: whether an operator may follow.
    """

    kind: Kind
    text: str
    start: int
    depth: int
    around: Bracket | None
    after_newline: bool
    ends_operand: bool

    @property
    def end(self) -> int:
        """Offset after its last character."""
        return self.start + len(self.text)


class ScanError(Exception):
    """Text that is no JavaScript.

    Args:
        message: what is wrong.
        offset: where.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


_BLANK: Final = re.compile(r"(?:\s|\ufeff|//[^\n\r\u2028\u2029]*|/\*(?:[^*]|\*(?!/))*+\*/)*+")
_NEWLINE: Final = re.compile(r"[\n\r\u2028\u2029]")
_TOKEN: Final = re.compile(
    r"(?P<number>\.?[0-9](?:[0-9a-zA-Z_.])*)"
    r"|(?P<word>[#@]?(?:[\w$]|[^\x00-\x7f\s\ufeff]|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]+\})+)"
    r"""|(?P<string>"(?:[^"\\\n\r]|\\(?:\r\n|[\s\S]))*+"|'(?:[^'\\\n\r]|\\(?:\r\n|[\s\S]))*+')"""
    r"|(?P<sign>=>|\+\+|--|\?\.(?![0-9])|\?\?|\.\.\.|[{}()\[\];,<>=!+\-*%&|^~?:.])"
)
_REGEX: Final = re.compile(
    r"/(?![*/])(?:[^/\\\[\n\r\u2028\u2029]|\\[^\n\r\u2028\u2029]|\[(?:[^\]\\\n\r\u2028\u2029]|\\[^\n\r\u2028\u2029])*+\])++/[\w$]*"
)
_TEMPLATE: Final = re.compile(r"(?:[^`\\$]|\\[\s\S]|\$(?!\{))*+(`|\$\{)")
_BEFORE_OPERAND: Final = frozenset(
    [
        *("return", "throw", "new", "else", "do", "case", "default", "extends"),
        *("typeof", "void", "delete", "in", "of", "instanceof", "yield", "await"),
    ]
)
_HEADS: Final = frozenset(("if", "while", "for", "with"))
_STATEMENT_WORDS: Final = frozenset(("else", "do", "default"))
_CLOSING: Final = {"}": "{", ")": "(", "]": "["}


class _Level:
    """An open bracket, or the top; mutable: what of its content matters for what comes."""

    __slots__ = ("bracket", "definition", "ends_operand", "opener", "start", "ternaries")

    def __init__(self, bracket: Bracket | None, opener: str, start: int, ends_operand: bool) -> None:
        self.bracket = bracket
        self.opener = opener
        self.start = start
        self.ends_operand = ends_operand  # whether what it closes may be followed by an operator
        self.ternaries = 0
        self.definition: tuple[str, bool] | None = None  # function or class whose body is to come; an operand?


def scan(source: str) -> list[Token]:
    """All tokens in order; the last is of kind END. Comments are none. About 1.5 us per token.

    Raises:
        ScanError: a string, template, comment or bracket that does not end, or a character that begins no token.
    """
    return _Scanner(source).run()


class _Scanner:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens: list[Token] = []
        self._levels = [_Level(None, "", 0, False)]
        self._was_ternary = False  # whether the last colon was that of `? :`

    def run(self) -> list[Token]:
        source, at = self._source, 0
        while True:
            blank = _BLANK.match(source, at)
            newline = blank is not None and _NEWLINE.search(source, at, blank.end()) is not None
            at = blank.end() if blank else at
            if at >= len(source):
                break
            at = self._take(at, newline)
        if len(self._levels) > 1:
            level = self._levels[-1]
            raise ScanError(f"`{level.opener}` is not closed", level.start)
        self._add(Kind.END, "", at, True, False)
        return self._tokens

    def _take(self, at: int, newline: bool) -> int:
        source = self._source
        first = source[at]
        if first == "/":
            if source.startswith("/*", at):
                raise ScanError("the comment is not closed", at)
            found = None if self._ends_operand() else _REGEX.match(source, at)
            text = found.group() if found else "/"
            self._add(Kind.REGEX if found else Kind.SIGN, text, at, newline, found is not None)
            return at + len(text)
        if first == "`":
            return self._take_template(at, at + 1, newline)
        if first == "}" and self._levels[-1].bracket is Bracket.SUBSTITUTION:
            self._levels.pop()
            return self._take_template(at, at + 1, newline)
        found = _TOKEN.match(source, at)
        if found is None:
            raise ScanError("the string is not closed" if first in "\"'" else f"unexpected character {first!r}", at)
        text = found.group()
        if found.lastgroup == "word":
            self._take_word(text, at, newline)
        elif found.lastgroup == "sign":
            self._take_sign(text, at, newline)
        else:
            self._add(Kind.NUMBER if found.lastgroup == "number" else Kind.STRING, text, at, newline, True)
        return found.end()

    def _take_template(self, start: int, at: int, newline: bool) -> int:
        found = _TEMPLATE.match(self._source, at)
        if found is None:
            raise ScanError("the template string is not closed", start)
        ends = found.group(1) == "`"
        self._add(Kind.TEMPLATE, self._source[start : found.end()], start, newline, ends)
        if not ends:
            self._levels.append(_Level(Bracket.SUBSTITUTION, "${", found.end() - 2, True))
        return found.end()

    def _take_word(self, text: str, at: int, newline: bool) -> None:
        is_name = self._last_text() in (".", "?.")
        if not is_name and text in ("function", "class"):
            self._levels[-1].definition = (text, self._is_operand_expected())
        self._add(Kind.WORD, text, at, newline, is_name or text not in _BEFORE_OPERAND)

    def _take_sign(self, text: str, at: int, newline: bool) -> None:
        level = self._levels[-1]
        if text in "{([":
            opened = self._open(text, at)
            self._add(Kind.SIGN, text, at, newline, False)
            self._levels.append(opened)
        elif text in "})]":
            if level.opener != _CLOSING[text]:
                raise ScanError(f"unexpected `{text}`", at)
            self._levels.pop()
            self._add(Kind.SIGN, text, at, newline, level.ends_operand)
        else:
            if self._source.startswith("<!--", at) or (newline and self._source.startswith("-->", at)):
                raise ScanError("HTML's comments are none in a module", at)
            if text == "?":
                level.ternaries += 1
            elif text == ":":
                self._was_ternary = level.ternaries > 0
                level.ternaries -= self._was_ternary
            elif text == ";":
                level.ternaries = 0
            if text not in (".", "?."):
                level.definition = None
            # `a ++ / b`: taken as standing after its operand; before one no regular expression makes sense.
            self._add(Kind.SIGN, text, at, newline, text in ("++", "--"))

    def _open(self, text: str, at: int) -> _Level:
        level = self._levels[-1]
        if text == "[":
            return _Level(Bracket.SQUARE, text, at, True)
        if text == "(":
            is_head = self._is_head()
            return _Level(Bracket.HEAD if is_head else Bracket.PAREN, text, at, not is_head)
        if level.definition is not None and self._ends_operand(bodies=True):
            (word, is_operand), level.definition = level.definition, None
            return _Level(Bracket.CLASS if word == "class" else Bracket.BLOCK, text, at, is_operand)
        if self._is_operand_expected() and self._last_text() != "=>":
            return _Level(Bracket.OBJECT, text, at, True)
        return _Level(Bracket.BLOCK, text, at, False)

    def _is_head(self) -> bool:
        if not self._tokens:
            return False
        last = self._tokens[-1]
        before = self._tokens[-2].text if len(self._tokens) > 1 else ""
        if last.text == "await" and before == "for":
            return True
        return last.kind is Kind.WORD and last.text in _HEADS and before not in (".", "?.")

    def _is_operand_expected(self) -> bool:
        """Whether the next token has to begin an operand, rather than a statement or an operator."""
        if not self._tokens:
            return False
        last = self._tokens[-1]
        if last.ends_operand or last.text in _STATEMENT_WORDS or last.text == ";":
            return False
        level = self._levels[-1]
        if last.kind is Kind.SIGN:
            if last.text in "})" or (last.text == "{" and level.bracket is not Bracket.OBJECT):
                return False
            if last.text == ":" and level.bracket in (None, Bracket.BLOCK):
                return self._was_ternary
        return True

    def _ends_operand(self, *, bodies: bool = False) -> bool:
        if not self._tokens:
            return False
        last = self._tokens[-1]
        return last.ends_operand or (bodies and last.text in (")", "class"))

    def _last_text(self) -> str:
        return self._tokens[-1].text if self._tokens else ""

    def _add(self, kind: Kind, text: str, at: int, newline: bool, ends_operand: bool) -> None:
        level = self._levels[-1]
        self._tokens.append(Token(kind, text, at, len(self._levels) - 1, level.bracket, newline, ends_operand))
