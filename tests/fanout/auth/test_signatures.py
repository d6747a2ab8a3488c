"""Signatures against AWS's published vectors and botocore's signer, and a table of what is not accepted."""

from __future__ import annotations

import contextlib
import string
import time
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from botocore.auth import SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SignerCredentials
from gql.transport.appsync_auth import AppSyncIAMAuthentication
from hypothesis import assume, given
from hypothesis import strategies as st

from fanout.auth.signatures import (
    Authorization,
    BadSignature,
    Credentials,
    SignatureVerifier,
    canonicalize,
    is_signed,
    parse_authorization,
    sign,
)
from fanout.model import Call, CallKind

REGION = "eu-west-1"
KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # of AWS's published examples
TEMPORARY_ID = "ASIAEXAMPLE"
TOKEN = "IQoJb3JpZ2luX2Vj//////////wEaCWV1LXdlc3QtMSJHMEUCIQD+="
EMPTY = sha256(b"").hexdigest()
DATA = '{"query":"subscription { onCreateMessage { id } }","variables":{"name":"Zoë 🐘"}}'


def build(now: float | None = None, prefix: str = "", skew: float = 300) -> SignatureVerifier:
    known = [Credentials(KEY_ID, SECRET.encode()), Credentials(TEMPORARY_ID, SECRET[::-1].encode(), TOKEN.encode())]
    return SignatureVerifier(known, REGION, skew, prefix, time.time if now is None else lambda: now)


def sign_call(
    kind: CallKind = CallKind.SUBSCRIBE,
    body: bytes = DATA.encode(),
    headers: Mapping[str, str] | None = None,
    *,
    key: tuple[str, str, str | None] = (KEY_ID, SECRET, None),
    region: str = REGION,
    service: str = "appsync",
    prefix: str = "",
    query: str = "",
    host: str = "api.example.com:8443",
) -> Call:
    """What botocore signs, as it comes in."""
    path = prefix + ("/graphql/connect" if kind is CallKind.CONNECT else "/graphql")
    url = f"https://{host}{path}" + (f"?{query}" if query else "")
    signed_body = b"{}" if kind is CallKind.CONNECT else body
    request = AWSRequest("POST", url, headers=dict(headers or {}), data=signed_body)
    SigV4Auth(SignerCredentials(*key), service, region).add_auth(request)
    received = {name.lower(): value for name, value in request.headers.items()} | {"host": host}
    return Call(kind, received, signed_body, query_string=query)


def change(call: Call, headers: Mapping[str, str | None]) -> Call:
    changed = {**call.headers, **headers}
    return replace(call, headers={name: value for name, value in changed.items() if value is not None})


def refuse(call: Call, verifier: SignatureVerifier | None = None) -> str:
    with pytest.raises(BadSignature) as caught:
        (verifier or build()).verify(call)
    return str(caught.value)


# Published by AWS: the example of the IAM guide (ListUsers) and the first two of the SigV4 test suite.
IAM_HEADERS = {
    "content-type": "application/x-www-form-urlencoded; charset=utf-8",
    "host": "iam.amazonaws.com",
    "x-amz-date": "20150830T123600Z",
}
SUITE_HEADERS = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}


@pytest.mark.parametrize(
    ("service", "method", "query", "headers", "secret", "signature"),
    [
        (
            "iam", "GET", "Action=ListUsers&Version=2010-05-08", IAM_HEADERS, SECRET,
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
        (
            "service", "GET", "", SUITE_HEADERS, SECRET,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "service", "POST", "", SUITE_HEADERS, SECRET,
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
    ],
    ids=["guide", "get-vanilla", "post-vanilla"],
)  # fmt: skip
def test_published_vectors(
    service: str, method: str, query: str, headers: dict[str, str], secret: str, signature: str
) -> None:
    canonical = canonicalize(method, "/", query, headers, sorted(headers), EMPTY)
    assert (
        sign(secret.encode(), "20150830T123600Z", f"20150830/us-east-1/{service}/aws4_request", canonical) == signature
    )


def test_the_canonical_request_is_as_published() -> None:
    canonical = canonicalize("GET", "/", "Action=ListUsers&Version=2010-05-08", IAM_HEADERS, sorted(IAM_HEADERS), EMPTY)
    assert sha256(canonical).hexdigest() == "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"


names = st.text(string.ascii_letters + string.digits + "-_.!~", min_size=1, max_size=12).filter(
    lambda name: (
        name.lower() not in {*SIGNED_HEADERS_BLACKLIST, "host", "date", "authorization"}
        and not name.lower().startswith("x-amz-")
    )
)
values = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=30
) | st.sampled_from(["", "  a   b  ", "a\tb", "a,b", "ü 🐘", "application/json, text/javascript"])
keys = st.sampled_from([(KEY_ID, SECRET, None), (TEMPORARY_ID, SECRET[::-1], TOKEN)])
parameters = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4)


@st.composite
def signed_calls(draw: Any) -> tuple[Call, SignatureVerifier]:
    kind = draw(st.sampled_from(CallKind))
    body = draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)).encode()
    headers = draw(st.dictionaries(names, values, max_size=4).filter(lambda d: len({n.lower() for n in d}) == len(d)))
    query = urlencode(draw(parameters), quote_via=draw(st.sampled_from([quote, quote_plus])))
    prefix = draw(st.sampled_from(["", "/api", "/a/b%20c"]))
    host = draw(st.sampled_from(["localhost", "127.0.0.1:8080", "x.appsync-api.eu-west-1.amazonaws.com", "[::1]:80"]))
    call = sign_call(
        kind,
        body,
        headers,
        key=draw(keys),
        prefix=draw(st.sampled_from(["", prefix])),
        query=query if kind is CallKind.HTTP else "",
        host=host,
    )
    return call, build(prefix=prefix)


@given(signed_calls())
def test_what_botocore_signs_is_accepted(signed: tuple[Call, SignatureVerifier]) -> None:
    call, verifier = signed
    assert verifier.verify(call) in {KEY_ID, TEMPORARY_ID}


@given(signed_calls(), st.data())
def test_any_change_of_what_is_signed_is_refused(signed: tuple[Call, SignatureVerifier], data: Any) -> None:
    call, verifier = signed
    signed_names = parse_authorization(call.headers["authorization"]).signed_names
    what = data.draw(st.sampled_from(["body", "query", "path", "authorization", *signed_names]))
    if what == "body":
        assume(call.kind is not CallKind.CONNECT)
        at = data.draw(st.integers(0, len(call.body) - 1))
        other = data.draw(st.integers(1, 255))
        changed = replace(call, body=call.body[:at] + bytes([call.body[at] ^ other]) + call.body[at + 1 :])
    elif what == "query":
        more = data.draw(st.sampled_from(["x=1", "x", "%20"]))
        changed = replace(call, query_string=f"{call.query_string}&{more}" if call.query_string else more)
    elif what == "path":
        changed = replace(call, path=data.draw(st.sampled_from(["/", "/graphql/", "/Graphql", "/graphql/realtime"])))
    else:
        value = call.headers[what]
        assume(value)
        at = data.draw(st.integers(0, len(value) - 1))
        other_character = data.draw(st.sampled_from(string.printable) | st.characters(codec="utf-8"))
        text = value[:at] + other_character + value[at + 1 :]
        # Space is space in SigV4: how much and of which kind is not signed.
        assume(text != value and (what == "authorization" or text.split() != value.split()))
        changed = change(call, {what: text})
    refuse(changed, verifier)


@given(signed_calls(), st.data())
def test_a_signed_header_cannot_be_taken_out(signed: tuple[Call, SignatureVerifier], data: Any) -> None:
    call, verifier = signed
    name = data.draw(st.sampled_from(parse_authorization(call.headers["authorization"]).signed_names))
    assert "is not there" in refuse(change(call, {name: None}), verifier)


@given(st.text() | st.text(string.ascii_letters + "=,;/ ").map("AWS4-HMAC-SHA256 {}".format))
def test_any_text_is_an_authorization_or_refused(text: str) -> None:
    with contextlib.suppress(BadSignature):
        assert isinstance(parse_authorization(text), Authorization)


def test_gql_s_own_signer_is_accepted() -> None:
    signer = AppSyncIAMAuthentication(
        "127.0.0.1:8080", region_name=REGION, credentials=SignerCredentials(TEMPORARY_ID, SECRET[::-1], TOKEN)
    )
    for kind, data in ((CallKind.CONNECT, None), (CallKind.SUBSCRIBE, DATA)):
        headers = {name.lower(): value for name, value in signer.get_headers(data).items()}
        assert build().verify(Call(kind, headers, (data or "{}").encode())) == TEMPORARY_ID


def test_signatures_are_recognized_by_their_beginning() -> None:
    assert is_signed(sign_call().headers)
    assert is_signed({"authorization": "AWS4-ECDSA-P256-SHA256 Credential=x"})
    assert not is_signed({"authorization": "eyJ"})
    assert not is_signed({})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"region": "eu-west-2"}, "the scope has to be"),
        ({"service": "execute-api"}, "the scope has to be"),
        ({"key": ("AKIDOTHER", SECRET, None)}, "nobody has this access key"),
        ({"key": (KEY_ID, SECRET + "x", None)}, "made with another secret"),
        ({"key": (TEMPORARY_ID, SECRET[::-1], None)}, "x-amz-security-token is missing"),
        ({"key": (TEMPORARY_ID, SECRET[::-1], TOKEN + "x")}, "not the one of these credentials"),
        ({"key": (TEMPORARY_ID, SECRET[::-1], TOKEN[:-1])}, "not the one of these credentials"),
        ({"prefix": "/other"}, "of something else"),
    ],
)
def test_signed_with_or_for_something_else(options: dict[str, Any], reason: str) -> None:
    assert reason in refuse(sign_call(**options))


def test_a_session_token_has_to_be_signed() -> None:
    unsigned = sign_call(key=(TEMPORARY_ID, SECRET[::-1], None))
    assert "not signed" in refuse(change(unsigned, {"x-amz-security-token": TOKEN}))


def test_a_session_token_of_nobody_is_no_harm() -> None:
    """A `start` with credentials of its own comes with what the connection has left over."""
    assert build().verify(change(sign_call(), {"x-amz-security-token": TOKEN})) == KEY_ID
    assert build().verify(sign_call(key=(KEY_ID, SECRET, TOKEN))) == KEY_ID


def test_each_kind_of_call_has_its_own_signature() -> None:
    connect, subscribe, http = (sign_call(kind) for kind in CallKind)
    assert build().verify(connect) == build().verify(subscribe) == build().verify(http) == KEY_ID
    refuse(replace(connect, kind=CallKind.HTTP))
    refuse(replace(subscribe, kind=CallKind.CONNECT))
    refuse(replace(connect, kind=CallKind.SUBSCRIBE))


def test_where_subscriptions_cannot_be_signed_the_connection_s_signature_counts() -> None:
    connect = sign_call(CallKind.CONNECT)
    later = build(now=time.time() + 86_400)
    subscribe = replace(connect, kind=CallKind.SUBSCRIBE, body=b"")
    assert later.verify(subscribe) == KEY_ID
    refuse(connect, later)
    refuse(change(subscribe, {"host": "other"}), later)
    refuse(replace(sign_call(), body=b""))


def test_a_path_prefix_may_be_signed_or_not() -> None:
    for prefix in ("", "/api"):
        for kind in CallKind:
            call = sign_call(kind, prefix=prefix)
            assert build(prefix="/api").verify(call) == KEY_ID
    refuse(sign_call(prefix="/api"))
    refuse(sign_call(prefix="/ap"), build(prefix="/api"))


@pytest.mark.parametrize(
    ("received", "signed"),
    [
        ("b=2&a=1&a=0", "a=0&a=1&b=2"),
        ("a", "a="),
        ("a=b=c", "a=b=c"),
        ("a=b=c", "a=b%3Dc"),
        ("a=x+y", "a=x+y"),
        ("a=x+y", "a=x%20y"),
        ("a=%c3%bc", "a=%C3%BC"),
        ("a=*", "a=%2A"),
        ("a=~&%7E=%2f", "a=~&~=%2F"),
    ],
)
def test_a_query_string_is_signed_as_it_is_or_encoded_anew(received: str, signed: str) -> None:
    """The first as botocore does it, the second as Amplify does."""
    headers = {"host": "h", "x-amz-date": "20261121T153000Z"}
    canonical = canonicalize("POST", "/graphql", signed, headers, sorted(headers), EMPTY)
    scope = f"20261121/{REGION}/appsync/aws4_request"
    signature = sign(SECRET.encode(), "20261121T153000Z", scope, canonical)
    authorization = f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope},{SIGNED},Signature={signature}"
    call = Call(CallKind.HTTP, headers | {"authorization": authorization}, b"", query_string=received)
    assert build(now=AT).verify(call) == KEY_ID
    refuse(replace(call, query_string=received + "&c"), build(now=AT))
    refuse(replace(call, query_string=received + "%20"), build(now=AT))


@pytest.mark.parametrize(("offset", "is_good"), [(-301, False), (-299, True), (299, True), (301, False)])
def test_the_clock_may_be_off_so_far(offset: float, is_good: bool) -> None:
    call = sign_call()
    date = call.headers["x-amz-date"]
    signed_at = time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.timezone
    verifier = build(now=signed_at + offset)
    if is_good:
        assert verifier.verify(call) == KEY_ID
    else:
        assert "more than 300 s" in refuse(call, verifier)


def sign_by_hand(date: str, *, scope: str = f"20261121/{REGION}/appsync/aws4_request", names: str = "") -> Call:
    """Signed as we do it: for what botocore would not sign."""
    headers = {"host": "h", "x-amz-date": date, "accept": "*/*"}
    signed = tuple(names.split(";")) if names else ("host", "x-amz-date")
    canonical = canonicalize(
        "POST", "/graphql", "", headers | {name: "" for name in signed if name not in headers}, signed,
        sha256(DATA.encode()).hexdigest(),
    )  # fmt: skip
    signature = sign(SECRET.encode(), "20261121T153000Z", scope, canonical)
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    )
    return Call(CallKind.SUBSCRIBE, headers | {"authorization": authorization}, DATA.encode())


AT = 1_795_275_000.0  # 2026-11-21T15:30:00Z


@pytest.mark.parametrize(
    "date", ["20261121T153000Z", "2026-11-21T15:30:00Z", "2026-11-21T15:30:00.123Z", " 20261121T153000Z "]
)
def test_times_are_read_in_both_formats(date: str) -> None:
    assert build(now=AT).verify(sign_by_hand(date)) == KEY_ID


@pytest.mark.parametrize(
    "date",
    [
        "",
        "soon",
        "20261121T153000",
        "20261121T153000+0000",
        "20261121 153000Z",
        "20261321T153000Z",
        "20261121T253000Z",
        "00000101T000000Z",
        "\u0662\u0660261121T153000Z",
        "1795275000",
        "Sat, 21 Nov 2026 15:30:00 GMT",
        "20261121T153000Z,20261121T153000Z",
        "2" * 100_000,
    ],
)
def test_other_times_are_not(date: str) -> None:
    assert "has to be a time" in refuse(sign_by_hand(date), build(now=AT))


@pytest.mark.parametrize(
    "scope",
    [
        f"20261120/{REGION}/appsync/aws4_request",
        f"20261121/{REGION}/appsync/aws4",
        f"20261121/{REGION}/appsync/aws4_request/",
        f"20261121/{REGION}/appsync",
        f"/20261121/{REGION}/appsync/aws4_request",
        f"20261121/{REGION.upper()}/appsync/aws4_request",
        "",
        "////",
    ],
)
def test_a_scope_is_this_date_region_and_service(scope: str) -> None:
    assert "the scope has to be" in refuse(sign_by_hand("20261121T153000Z", scope=scope), build(now=AT))


@pytest.mark.parametrize("names", ["host", "x-amz-date", "accept", "accept;host", "accept;x-amz-date"])
def test_host_and_date_have_to_be_signed(names: str) -> None:
    assert "host and x-amz-date have to be signed" in refuse(
        sign_by_hand("20261121T153000Z", names=names), build(now=AT)
    )


GOOD = f"Credential={KEY_ID}/20261121/{REGION}/appsync/aws4_request"
SIGNED = "SignedHeaders=host;x-amz-date"
HEX = f"Signature={'0' * 64}"


@pytest.mark.parametrize(
    "text",
    [
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD},{SIGNED},{HEX}",
        f"AWS4-HMAC-SHA256 {HEX}, {GOOD},  {SIGNED}",
    ],
)
def test_an_authorization_is_parsed(text: str) -> None:
    expected = Authorization(KEY_ID, f"20261121/{REGION}/appsync/aws4_request", ("host", "x-amz-date"), "0" * 64)
    assert parse_authorization(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        f"AWS4-HMAC-SHA1 {GOOD}, {SIGNED}, {HEX}",
        f"aws4-hmac-sha256 {GOOD}, {SIGNED}, {HEX}",
        f"AWS4-HMAC-SHA256\t{GOOD}, {SIGNED}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD} {SIGNED} {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {HEX}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {HEX},",
        f"AWS4-HMAC-SHA256 {GOOD}, {GOOD}, {SIGNED}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {SIGNED}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {HEX}, Other=1",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {HEX}, {GOOD}, {SIGNED}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, Signature={'0' * 63}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, Signature={'0' * 65}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, Signature={'A' * 64}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, Signature={'é' * 64}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, Signature=",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=x-amz-date;host, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=host;host;x-amz-date, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=host;x-amz-date;, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=Host;x-amz-date, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=ho st;x-amz-date, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=ho:st;x-amz-date, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders=ho\nst;x-amz-date, {HEX}",
        f"AWS4-HMAC-SHA256 credential=x, {SIGNED}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, SignedHeaders={';'.join(f'h{n:05}' for n in range(10_000))}, {HEX}",
        f"AWS4-HMAC-SHA256 {GOOD}, {SIGNED}, {HEX}" + " " * 1_000_000,
    ],
)
def test_other_authorizations_are_not(text: str) -> None:
    with pytest.raises(BadSignature):
        parse_authorization(text)


def test_a_value_cannot_bring_lines_of_its_own() -> None:
    call = sign_call(headers={"x-a": "1", "x-b": "2"})
    lines = change(call, {"x-a": "1\nx-b:2", "x-b": ""})
    refuse(lines)


def test_reasons_and_values_hold_no_credential() -> None:
    call = change(sign_call(key=(TEMPORARY_ID, SECRET[::-1], TOKEN)), {"x-amz-security-token": TOKEN + "x"})
    for text in (refuse(call), repr(Credentials(KEY_ID, SECRET.encode(), TOKEN.encode())), repr(build())):
        assert SECRET not in text
        assert TOKEN not in text
        assert call.headers["authorization"][-64:] not in text


def test_an_unknown_access_key_makes_as_much_work_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def count(secret: bytes, timestamp: str, scope: str, canonical: bytes) -> str:
        made.append(len(secret))
        return sign(secret, timestamp, scope, canonical)

    monkeypatch.setattr("fanout.auth.signatures.sign", count)
    verifier = build(prefix="/api")
    for kind in CallKind:
        work = []
        for key in ((KEY_ID, SECRET, None), (KEY_ID, "wrong", None), ("AKIDNOBODY", SECRET, None)):
            with contextlib.suppress(BadSignature):
                verifier.verify(sign_call(kind, key=key))
            work.append(made.copy())
            made.clear()
        assert work == [[40, 40]] * 3  # a secret of AWS has 40 characters
