"""console: lines for the log, bounded."""

from __future__ import annotations

import orjson

from tests.fanout.resolvers.running import Expressions

RUN = Expressions()


def test_lines_go_out_in_order_with_their_level() -> None:
    envelope = RUN.envelope("(console.log('a', 1, { b: [null] }), console.error('c'), console.log())")
    assert envelope["logs"] == [["log", 'a 1 {"b":[null]}'], ["error", "c"], ["log", ""]]


def test_levels_that_appsync_does_not_document_are_there() -> None:
    envelope = RUN.envelope("(console.debug('a'), console.info('b'), console.warn('c'))")
    assert envelope["logs"] == [["debug", "a"], ["info", "b"], ["warn", "c"]]


def test_lines_are_bounded_in_number_and_length() -> None:
    logs = RUN.envelope("Array.from({ length: 99 }, (_, at) => console.log(at + 'x'.repeat(9999)))")["logs"]
    assert len(logs) == 50
    assert {len(text) for _, text in logs} == {2000}


def test_credentials_in_headers_are_not_shown() -> None:
    headers = {"x-api-key": "da2-k", "authorization": "t", "cookie": "c", "x-amz-security-token": "s", "accept": "a"}
    logs = RUN.envelope("console.log(ctx.request, { Authorization: 't' }, [1])", request={"headers": headers})["logs"]
    hidden = orjson.dumps({"headers": dict.fromkeys(headers, "****") | {"accept": "a"}}).decode()
    assert logs == [["log", f'{hidden} {{"Authorization":"****"}} [1]']]


def test_credentials_of_the_client_are_not_shown_in_texts_either() -> None:
    headers = {"authorization": "Bearer ab.cd.ef", "cookie": "a=1"}
    code = "console.log('x'.repeat(1800) + JSON.stringify(ctx.request) + 'y'.repeat(300))"
    (_, text), *_ = RUN.envelope(code, request={"headers": headers})["logs"]
    assert text.strip("xy") == '{"headers":{"authorization":"****","cookie":"a=1"}}'
    logs = RUN.envelope("console.log(`as ${ctx.request.headers.authorization}`)", request={"headers": headers})["logs"]
    assert logs == [["log", "as ****"]]
    failure = "(() => { throw new Error(ctx.request.headers.authorization) })()"
    assert RUN.error(failure, request={"headers": headers}) == "Error: ****"
