"""Any headers, body and address of a call that says it is signed: who has signed it, or nobody; never our fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth import IamProvider
from fanout.auth.signatures import sign
from fanout.auth_settings import IamSettings, IamUser
from fanout.errors import Unauthorized
from fanout.model import Call, CallKind
from tests.fuzz.effort import fuzzed
from tests.fuzz.strategies import damaged
from tests.fuzz.witness import nothing_heard

AT = 1_795_275_000.0  # 2026-11-21T15:30:00Z
SCOPE = "20261121/us-east-1/appsync/aws4_request"
USER = IamUser(access_key_id="AKIA", secret_access_key="secret", session_token="token")
PROVIDER = IamProvider(IamSettings(users=(USER,), path_prefix="/api"), lambda: AT)

any_text = st.text(st.characters(), max_size=20)  # lone surrogates too
names = st.sampled_from(["host", "x-amz-date", "x-amz-security-token", "accept", "a", "x-b!", ""]) | any_text
parts = st.one_of(
    st.sampled_from([f"Credential=AKIA/{SCOPE}", f"Signature={'0' * 64}", "Credential=", "Signature", "", " "]),
    st.lists(names, max_size=5).map(lambda listed: "SignedHeaders=" + ";".join(sorted(listed))),
    any_text,
)
authorizations = st.one_of(
    st.lists(parts, max_size=5).map(lambda listed: "AWS4-HMAC-SHA256 " + ", ".join(listed)),
    damaged(
        st.just(
            f"AWS4-HMAC-SHA256 Credential=AKIA/{SCOPE}, SignedHeaders=a;host;x-amz-date;x-amz-security-token, "
            f"Signature={sign(b'secret', '20261121T153000Z', SCOPE, b'')}"
        )
    ),
    any_text,
)
dates = st.just("20261121T153000Z") | damaged(st.just("20261121T153000Z")) | any_text
calls = st.builds(
    Call,
    st.sampled_from(CallKind),
    st.fixed_dictionaries(
        {"authorization": authorizations, "host": any_text, "x-amz-date": dates, "a": any_text},
        optional={"x-amz-security-token": st.just("token") | any_text, "x-b!": any_text, "": any_text},
    ),
    body=st.binary(max_size=20),
    path=st.just("/graphql") | any_text,
    query_string=any_text | st.text("a=&%+2f", max_size=12),
    addresses=st.lists(any_text, max_size=3).map(tuple),
)


@fuzzed
@given(calls)
def test_whoever_signs_anything_is_nobody(call: Call) -> None:
    with nothing_heard():
        PROVIDER.recognizes(call)
        with pytest.raises(Unauthorized):
            PROVIDER.decide(call)
        headers = dict(call.headers)
        del headers["authorization"]
        with pytest.raises(Unauthorized):
            PROVIDER.decide(replace(call, headers=headers))
