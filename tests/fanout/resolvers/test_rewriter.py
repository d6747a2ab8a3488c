"""ES modules as function bodies: imports, exports, places, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import quickjs
from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.resolvers.rewriter import ModuleError, rewrite_module
from fanout.resolvers.sandbox import NEEDED_BY, Limits, Sandbox

UTILS = "'@aws-appsync/utils'"
COMPILE = quickjs.Context().eval("(body) => { new Function(body) }")


def run(source: str, handler: str = "request") -> Any:
    sandbox = Sandbox(rewrite_module(source, "a.js"), Limits(), lambda question: {"value": None})
    envelope = sandbox.call(handler, orjson.dumps({"arguments": {"a": 1}}).decode())
    assert "value" in envelope, envelope
    return envelope["value"]


@pytest.mark.parametrize(
    "imports",
    [
        f"import {{ util, runtime }} from {UTILS};",
        f"import {{ util, }} from {UTILS}; import {{ runtime }} from {UTILS}",
        f"import {{ util as u, runtime as r }} from {UTILS}\nconst util = u, runtime = r",
        f"import {{util}}from{UTILS};import{{runtime}}from{UTILS};",
        'import{util,runtime}from"@aws-appsync/utils";',
        f"import * as all from {UTILS}\nconst {{ util, runtime }} = all",
        f"import {UTILS};\nimport {{\n  util, // import x from 'y'\n  runtime\n}}\nfrom\n{UTILS}\n",
        f"import {{ util }} from {UTILS}\nimport {{ util as v, runtime }} from {UTILS}",
        f"import {{ util, util as again, runtime }} from {UTILS}",
        f"import {{ 'util' as util, runtime }} from {UTILS}",
    ],
)
@pytest.mark.parametrize("prefix", ["", "\ufeff", "#!/usr/bin/env node\n"])
def test_imports(imports: str, prefix: str) -> None:
    for text in (imports, imports.replace("\n", "\r\n")):
        code = f"{prefix}{text}\nexport function request() {{ return typeof util.error + typeof runtime.earlyReturn }}"
        assert run(code) == "functionfunction"


@pytest.mark.parametrize(
    "source",
    [
        "export function request() { return 7 }",
        "export const request = () => 7;",
        "export let other = 1, request = function () { return other + 6 }",
        "export var request = () => 7",
        "const a = () => 7; export { a as request };",
        "const request = () => 7\nexport { request }",
        "export { request, }\nfunction request() { return 7 }",
        "export{a as request};const a=()=>7;",
        "export const six = 6\nexport const request = () => six\n + 1",
        "export const request = () => { return 7 }\nfoo(1, request), 2\nfunction foo() {}",
        "function request(){return 7}export{request};",
        "const a = () => 7; export { a as 'request' }",
        "const request = () => a\nexport { request }\n[1].map(() => 1)\nvar a = 7",
        f"const a = () => 7\nimport {UTILS}\n;(1)\nexport {{ a as request }}",
    ],
)
def test_exports(source: str) -> None:
    assert run(source) == 7


def test_imports_may_stand_after_their_use() -> None:
    assert (
        run(f"const f = util.error\nexport const request = () => typeof f\nimport {{ util }} from {UTILS}")
        == "function"
    )


@pytest.mark.parametrize(
    ("source", "where", "message"),
    [
        ("import axios from 'axios'", "1:19", "bundle the module"),
        (f"import utils from {UTILS}", "1:8", "no default export"),
        ("import { x } from './x.js'", "1:19", "bundle the module"),
        ("\n  import { ddb } from '@aws-appsync/utils/dynamodb'", "2:23", "no data source of that kind"),
        ("import * as d from '@aws-appsync/utils/dynamodb'", "1:20", 'from-appsync.md, "What is not there yet"'),
        (f"import type {{ Context }} from {UTILS}", "1:8", "TypeScript is not run: compile it with esbuild"),
        (f"import {{ util, type Context }} from {UTILS}", "1:16", "TypeScript is not run"),
        (f"import type from {UTILS}", "1:8", "it has no default export"),
        (f"import {{ utils }} from {UTILS}", "1:10", "exports no `utils`: there are util, extensions, runtime"),
        ("export default function () {}", "1:8", "export by name"),
        ("const a = 1; export { a as default }", "1:23", "export by name"),
        ("export * from 'x'", "1:8", "bundle the module"),
        ("export { a } from 'x'", "1:14", "bundle the module"),
        ("export const { a } = b", "1:14", "simple names"),
        ("export const a = 1; export { a }", "1:30", "exported twice"),
        ("const a = () => import('x')", "1:17", "import() is not there"),
        ("export const a = () => import('x')", "1:24", "import() is not there"),
        ("f(import.meta)", "1:3", "import.meta is not there"),
        ("if (a) { export const b = 1 }", "1:10", "only at the top"),
        ("return 1", "1:1", "only in a function"),
        ("}; x = {", "1:1", "unexpected `}`"),
        ("a\r\nb (", "2:3", "not closed"),
        ("export a", "1:8", "expected a function"),
        ("export { a", "1:8", "not closed"),
        ("import { util } from '@aws-appsync/utils' util", "1:43", "expected `;`"),
    ],
)
def test_what_resolvers_cannot_have_is_refused_where_it_is(source: str, where: str, message: str) -> None:
    with pytest.raises(ModuleError) as raised:
        rewrite_module(source, "Query.a.js")
    assert str(raised.value).startswith(f"Query.a.js:{where}: ")
    assert message in str(raised.value)


def test_names_that_are_no_statements_are_left_alone() -> None:
    source = """
    class A { import() { return 1 } export = 2; static get return() { return 3 } }
    const o = { import: 4, export() { return 5 }, return: 6, await: 7 };
    export const request = () => [new A().import(), new A().export, A.return, o.import, o.export(), o.return, o?.await];
    """
    assert run(source) == [1, 2, 3, 4, 5, 6, 7]


def test_everything_else_stays_where_it_is() -> None:
    source = f"import {{ util }} from {UTILS}; const a = 1; export const b = 2\n"
    source += "/* c */ export { a } ; d(`\nexport { e }`)"
    lines = rewrite_module(source, "a.js").split("\n")[1:-1]
    assert [len(line) for line in lines] == [len(line) for line in source.split("\n")]
    assert lines[0].index("const a") == source.index("const a")
    assert lines[1:] == ["/* c */ ;" + " " * 14 + "d(`", "export { e }`)"]


# What esbuild 0.28 makes of createMessage.ts and rules.ts beside them, with --bundle --format=esm
# --external:@aws-appsync/utils, and --minify or --target=es2020 --sourcemap=inline --sources-content=false.
@pytest.mark.parametrize("name", ["plain", "minified", "es2020"])
def test_bundles_of_esbuild(name: str) -> None:
    source = (Path(__file__).parent / "bundles" / f"{name}.js").read_text()
    body = rewrite_module(source, "a.js")
    sandbox = Sandbox(body, Limits(), lambda question: {"value": None})
    assert sandbox.handlers == {"request", "response"}

    def create(**input: Any) -> dict[str, Any]:
        return sandbox.call("unit", orjson.dumps({"arguments": {"input": {"roomId": "a", **input}}}).decode())

    made = {"id": "YSBiJ2M=", "roomId": "a", "content": "a b'c", "share": 0.2}
    assert create(content=" a \n b'c ")["value"] == made
    assert create(content=" ")["error"]["message"] == '"" breaks the rule not empty'
    assert create(content="x" * 3000)["error"]["message"] == '"xxxxxxxxxx" breaks the rule not too long'
    assert create(content="x", draft=True)["value"]["note"] == 'export { draft as "2000" }'


TEXTS = st.sampled_from(
    [
        "import x from 'y'",
        "export const a = 1",
        "export { a as b }",
        "`",
        "${",
        "}",
        "*/",
        "//",
        "/*",
        "'",
        '"',
        "\\",
        "/",
        "é😀",
    ]
)


def quote(text: str, mark: str) -> str:
    for special in ("\\", mark, "${") if mark == "`" else ("\\", mark):
        text = text.replace(special, "\\" + special)
    return f"{mark}{text}{mark}"


def escape_pattern(text: str) -> str:
    return "".join(
        character if character.isalnum() or character in " '`\"é😀" else "\\" + character for character in text
    )


STRINGS = st.builds(quote, TEXTS, st.sampled_from("'\"`"))
PATTERNS = TEXTS.map(lambda text: f"/{escape_pattern(text)}['\"`/]*/g.source")
COMMENTS = TEXTS.map(lambda text: f"/* {text.replace('*/', '')} */") | TEXTS.map(lambda text: f"// {text}\n")
EXPRESSIONS = st.recursive(
    STRINGS | PATTERNS,
    lambda inner: st.one_of(
        inner.map(lambda one: f"`a${{{one}}}export {'{'}`"),
        st.builds("({{ import: {}, export: [{}] }})".format, inner, inner),
        st.builds("(() => {{ return {} }})() + {}".format, inner, inner),
        st.builds("(1) / 2 / ({}).length".format, inner),
        st.builds("(({}) ? {{ a: /}}/ }} : {})".format, inner, inner),
        st.builds("(function () {{ if (1) /'/.test(''); return {} }})()".format, inner),
        st.builds("{} {}".format, COMMENTS, inner),
        st.builds("{} {}\n".format, inner, COMMENTS),
    ),
    max_leaves=6,
)
OTHERS = st.one_of(
    st.builds("{{ const a = {}; }}".format, EXPRESSIONS),
    st.builds("if (1) {{ {}; }} else /`/.test({});".format, EXPRESSIONS, EXPRESSIONS),
    st.builds(";[{}];".format, EXPRESSIONS),
    COMMENTS,
)
IMPORT = f"import {{ util as NAME }} from {UTILS}"
STATEMENTS = st.one_of(
    OTHERS.map(lambda text: (text, text)),
    EXPRESSIONS.map(lambda text: (f"export const NAME = {text};", f"       const NAME = {text};")),
    EXPRESSIONS.map(
        lambda text: (f"export function NAME() {{ return {text} }}", f"       function NAME() {{ return {text} }}")
    ),
    st.just((f"{IMPORT};", ";" + " " * len(IMPORT))),
    st.just((f"{IMPORT}\n", ";" + " " * (len(IMPORT) - 1) + "\n")),
)


@given(st.lists(STATEMENTS, max_size=6), st.sampled_from(["\n", "\r\n", " "]))
@settings(max_examples=200, deadline=None)
def test_nothing_but_statements_is_touched(statements: list[tuple[str, str]], between: str) -> None:
    names = [f"n{number:03}" for number in range(len(statements))]
    source = between.join(text.replace("NAME", name) for (text, _), name in zip(statements, names, strict=True))
    lines = rewrite_module(source, "a.js").split("\n")[1:-1]
    ours = [text.replace("NAME", name) for (_, text), name in zip(statements, names, strict=True)]
    if between == " " and any("// " in text for text in ours):
        return  # a comment took what follows with it
    expected = between.join(ours).split("\n")
    assert [line.rstrip() for line in lines if line.strip()] == [line.rstrip() for line in expected if line.strip()]
    COMPILE("\n".join([*lines, "return {};"]))


@pytest.mark.parametrize(
    ("code", "uses"),
    [
        ("export const request = () => 1", ""),
        ("import { util } from U; export const request = () => util.error(util.time.nowISO8601())", "error time"),
        (
            "import { util as u, runtime } from U; export const f = () => `${u?.isNull(1)}`",
            "isNull",
        ),
        ("export const request = () => util.xml.toMap('<a/>')", "xml"),
        ("import { util as u } from U; util.rds; u.xml", "rds xml"),
        ("const all = util;", None),
        ("globalThis['ut' + 'il'].xml", None),
        ("import { util } from U; // util.xml\n'util.xml'; export const a = { util: 1 }.util", None),
        ("import { util } from U; const { xml } = util;", None),
        ("import { util } from U; util['xml'];", None),
        ("import { util } from U; f(util);", None),
        ("import { util } from U; export { util };", ""),
        ("import * as all from U; all.util.xml", None),
        ("import { util } from U; \\u0075til.xml", None),
        ("import { util } from U; import { util as v } from U; util.xml; v.rds", "rds xml"),
    ],
)
def test_what_is_used_of_the_library_is_noted(code: str, uses: str | None) -> None:
    first = rewrite_module(code.replace("U", UTILS), "a.js").split("\n")[0]
    assert first.startswith(f"/*uses {uses}*/") if uses is not None else "/*" not in first


def test_a_context_has_what_its_module_uses() -> None:
    for part in sorted({name for names in NEEDED_BY.values() for name in names}):
        assert run(f"import {{ util }} from {UTILS}; export const request = () => typeof util.{part}") == "object"
        assert run(f"export const request = () => typeof util.{part}") == "object"
    assert run(f"import {{ util }} from {UTILS}; const all = util; export const request = () => Object.keys(all.xml)")
