"""util.xml: the guide's examples, and Python's own parser as the oracle of what is well-formed and what is in it."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.resolvers.sandbox import ResourceLimitExceeded
from tests.fanout.resolvers.running import Expressions, load

RUN = Expressions()

ONE_POST = """<?xml version="1.0" encoding="UTF-8"?>
<posts>
<post>
  <id>1</id>
  <title>Getting started with GraphQL</title>
</post>
</posts>
"""
FIRST = {"id": 1, "title": "Getting started with GraphQL"}
TWO_POSTS = ONE_POST.replace(
    "</posts>", "<post>\n<id>2</id>\n<title>Getting started with AppSync</title>\n</post>\n</posts>"
)


def to_map(text: str) -> Any:
    return RUN.run("util.xml.toMap(args[0])", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (ONE_POST, {"posts": {"post": FIRST}}),
        (TWO_POSTS, {"posts": {"post": [FIRST, {"id": 2, "title": "Getting started with AppSync"}]}}),
    ],
)
def test_the_guides_examples(text: str, value: Any) -> None:
    assert to_map(text) == value
    assert json.loads(RUN.run("util.xml.toJsonString(args[0])", text)) == value
    encoded = RUN.run("util.xml.toJsonString(args[0], true)", text)
    assert json.loads(json.loads(encoded)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<a/>", {"a": ""}),
        ("<a></a>", {"a": ""}),
        ("<a> \n </a>", {"a": ""}),
        ("<a b=\"1\" c='x'/>", {"a": {"b": 1, "c": "x"}}),
        ('<a b="1">text</a>', {"a": {"b": 1, "content": "text"}}),
        ("<a>one<b/>two</a>", {"a": {"content": ["one", "two"], "b": ""}}),
        ('<a b="1"><b>2</b><b>3</b></a>', {"a": {"b": [1, 2, 3]}}),
        ("<a><content>x</content></a>", {"a": {"content": "x"}}),
        ("<s:a xmlns:s='urn:x'><s:b>1</s:b></s:a>", {"s:a": {"xmlns:s": "urn:x", "s:b": 1}}),
        ("<a> <![CDATA[ 1 < 2 ]]> </a>", {"a": " 1 < 2 "}),
        ("<a><![CDATA[7]]></a>", {"a": "7"}),
        ("<a>one<!-- not me --> two<?nor me?></a>", {"a": "one two"}),
        ("<a>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F600;</a>", {"a": "<&>\"'A\N{GRINNING FACE}"}),
        ("<a>&#160;x</a>", {"a": "\u00a0x"}),
        ("<a>one\r\ntwo\rthree</a>", {"a": "one\ntwo\nthree"}),
        ("<a b='one\ntwo'/>", {"a": {"b": "one two"}}),
        ("<größe>1</größe>", {"größe": 1}),
        ("\ufeff<a/>", {"a": ""}),
        ("<!-- first --><a/><?last x?>\n", {"a": ""}),
        ("<a><__proto__>1</__proto__><toString/></a>", {"a": {"__proto__": 1, "toString": ""}}),
        ('<a constructor="x" __proto__="y"/>', {"a": {"constructor": "x", "__proto__": "y"}}),
    ],
)
def test_what_becomes_of_the_rest(text: str, value: Any) -> None:
    assert to_map(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0", 0), ("-1", -1), ("12.5", 12.5), ("1e3", 1000), ("true", True), ("false", False)),
        *(("9007199254740991", 9007199254740991), ("9007199254740993", "9007199254740993"), ("1e400", "1e400")),
        *(("007", "007"), ("-0", "-0"), ("+1", "+1"), ("1.", "1."), (".5", ".5"), ("0x10", "0x10"), ("NaN", "NaN")),
        *(("True", "True"), ("null", "null"), ("1 2", "1 2")),
    ],
)
def test_text_is_a_number_only_where_it_is_one_in_full(text: str, value: Any) -> None:
    assert to_map(f"<a> {text} </a>") == {"a": value}


def test_nothing_becomes_null_and_other_kinds_are_refused() -> None:
    assert RUN.run("[util.xml.toMap(null), util.xml.toMap()]") == [None, None]
    assert RUN.error("util.xml.toMap(7)") == "TypeError: util.xml takes the text of a document, not a number"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: there is no element"),
        ("<a>\n <b>\n</a>", "line 3, column 5: expected </b>"),
        ("<a><b></b>", "line 1, column 11: <a> is not closed"),
        ("</a>", "line 1, column 5: nothing is open"),
        ("<a/><b/>", "line 1, column 5: a second element at the top"),
        ("<a/>x", "line 1, column 5: text outside of an element"),
        ("<a>&b;</a>", "line 1, column 4: '&b;' is no known entity"),
        ("<a>&toString;</a>", "line 1, column 4: '&toString;' is no known entity"),
        ("<a>1 & 2</a>", "line 1, column 4: '&' is no known entity"),
        ("<a>&#0;</a>", "line 1, column 4: &#0; is no character"),
        ("<a>&#x110000;</a>", "line 1, column 4: &#x110000; is no character"),
        ("<a b='1' b='2'/>", "line 1, column 1: the attribute b is there twice"),
        ("<a b=1/>", "line 1, column 3: <a> has something else than attributes"),
        ("<a>]]></a>", "line 1, column 4: `]]>` in text"),
        ("<a><!-- a -- b --></a>", "line 1, column 19: `--` in a comment"),
        ("<a><![CDATA[x</a>", "line 1, column 13: a CDATA section is not closed"),
        ("<a><1/></a>", "line 1, column 4: `<` is not followed by a name"),
        (" <?xml version='1.0'?><a/>", "line 1, column 7: a misplaced or wrong `<?`"),
        ("<a>\x01</a>", "line 1, column 4: a character that XML does not have"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "line 1, column 1: document types are not read"),
        ("<a>" * 101, "line 1, column 301: elements are nested deeper than 100"),
    ],
)
def test_what_is_not_well_formed_is_refused_with_its_place(text: str, message: str) -> None:
    assert RUN.error("util.xml.toMap(args[0])", text) == f"SyntaxError: util.xml: {message}"


def test_a_billion_laughs_are_not_heard() -> None:
    entities = "".join(f'<!ENTITY l{n} "&l{n - 1};&l{n - 1};">' for n in range(1, 40))
    text = f'<!DOCTYPE a [<!ENTITY l0 "ha">{entities}]><a>&l39;</a>'
    assert "document types are not read" in RUN.error("util.xml.toMap(args[0])", text)


def test_a_hundred_elements_deep_is_written_as_json() -> None:
    value = to_map("<a>" * 100 + "</a>" * 100)
    for _ in range(100):
        value = value["a"]
    assert value == ""


def test_a_document_beyond_the_limits_is_the_calls_end() -> None:
    sandbox = load("const request = (ctx) => util.xml.toMap(ctx.args.x);\nreturn { request };", memory_bytes=4_000_000)
    with pytest.raises(ResourceLimitExceeded, match=r"memory|time"):
        sandbox.call("request", json.dumps({"arguments": {"x": "<a>" + "<b/>" * 100_000 + "</a>"}}))


NAMES = st.sampled_from(["a", "b", "c.d", "_e", "größe", "__proto__", "toString"])
TEXTS = st.text(st.sampled_from("ab 1é&<>\"'\n\N{GRINNING FACE}"), max_size=6)


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> ElementTree.Element:
    element = ElementTree.Element(draw(NAMES), draw(st.dictionaries(NAMES, TEXTS, max_size=2)))
    element.text = draw(TEXTS)
    for _ in range(draw(st.integers(0, 3 if depth else 0))):
        child = draw(elements(depth - 1))
        child.tail = draw(TEXTS)
        element.append(child)
    return element


def convert(text: str) -> Any:
    text = text.strip(" \t\r\n")
    try:
        return int(text) if str(int(text)) == text else text
    except ValueError:
        return text


def describe(element: ElementTree.Element) -> Any:
    """The oracle: what an element becomes, on Python's own tree."""
    members: dict[str, list[Any]] = {name: [convert_attribute(value)] for name, value in element.attrib.items()}
    runs = [element.text or "", *(child.tail or "" for child in element)]
    for child in element:
        members.setdefault(child.tag, []).append(describe(child))
    texts = [convert(run) for run in runs if run.strip(" \t\r\n")]
    if not members:
        return texts[0] if texts else ""
    if texts:
        members.setdefault("content", []).extend(texts)
    return {name: values[0] if len(values) == 1 else values for name, values in members.items()}


def convert_attribute(text: str) -> Any:
    value = convert(text)
    return value if not isinstance(value, str) and str(value) == text else text


@given(elements())
def test_what_python_writes_is_read_as_python_reads_it(element: ElementTree.Element) -> None:
    text = ElementTree.tostring(element, encoding="unicode")
    tree = ElementTree.fromstring(text)
    assert to_map(text) == {tree.tag: describe(tree)}


PIECES = st.sampled_from(
    [
        *(
            "<a>",
            "</a>",
            "<b",
            "</b>",
            "/>",
            ">",
            "<",
            "&",
            "&amp;",
            "&#65;",
            "&x;",
            "x",
            " ",
            "\n",
            "]]>",
            "<![CDATA[",
        ),
        *("<!--", "-->", "--", "-", "<?", "?>", "<?p", "?", ' c="1"', " c='&lt;'", ' d="<"', "=", '"', "xml", "<a/>"),
        *('<?xml version="1.0"?>', " standalone='yes'", "1", "\x02", "é", "<é", "</é>"),
    ]
)


@given(
    st.lists(PIECES, max_size=10).map("".join) | st.lists(PIECES, max_size=8).map(lambda all: f"<a>{''.join(all)}</a>")
)
def test_what_is_well_formed_is_what_expat_takes(text: str) -> None:
    envelope = RUN.envelope("util.xml.toMap(args[0])", text)
    try:
        expat.ParserCreate().Parse(text.encode(), True)
        well_formed = True
    except expat.ExpatError:
        well_formed = False
    assert ("value" in envelope) is well_formed, envelope
    assert well_formed or envelope["failure"].startswith("SyntaxError: util.xml: line ")
