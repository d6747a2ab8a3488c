"""Names of identities are told apart from credentials by their looks."""

from __future__ import annotations

from hashlib import sha256

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.auth import generate_key, is_identity_name, shorten_subject

DIGEST = sha256(b"a key").hexdigest()
NAME = f"sha256:{DIGEST[:16]}"
TOKEN = jwt.encode({"iss": "https://issuer.example", "sub": "a|b"}, "secret" * 8)


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        f"sha256:{DIGEST}",
        f"sha256:{DIGEST.upper()}",
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI|7d8ca528-4931-4254-9273-ea5ee853f271",
        "https://tenant.auth0.com/|auth0|5f7c8ec7c33c6c004bbafe82",
        "http://127.0.0.1:9000|ann with a space",
        "anonymous",
    ],
)
def test_names(name: str) -> None:
    assert is_identity_name(name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "da2-a-key-itself",
        TOKEN,
        f"Bearer {TOKEN}",
        f"x|{TOKEN}",
        "custom-authorized token",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",  # a secret access key
        "AKIA",
        "akiaiosfodnn7example",
        DIGEST,
        f"sha256:{DIGEST[:20]}",
        f"{NAME}\n",
        "https://issuer.example|",
        "https://issuer.example",
        "https://|x",
        "Anonymous",
    ],
)
def test_what_may_be_a_credential_is_none(text: str) -> None:
    assert not is_identity_name(text)


@given(st.builds(generate_key) | st.binary(min_size=1).map(lambda raw: jwt.encode({"sub": raw.hex()}, "secret" * 8)))
def test_no_generated_key_and_no_token_is_taken_for_a_name(credential: str) -> None:
    assert not is_identity_name(credential)


def test_a_digest_is_shortened_to_the_name_of_its_identity() -> None:
    assert shorten_subject(f"sha256:{DIGEST}") == shorten_subject(f"sha256:{DIGEST.upper()}") == NAME
    assert shorten_subject(f"sha256:{DIGEST[:16].upper()}") == NAME
    for other in (NAME, "user-1", DIGEST, f"sha256:{DIGEST[:20]}", "https://i|A", ""):
        assert shorten_subject(other) == other
