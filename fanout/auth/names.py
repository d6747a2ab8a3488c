"""How operators name identities: what `Identity.subject` looks like in each mode, told apart from credentials.

    API_KEY, AWS_LAMBDA     sha256:0123456789abcdef     of the key or token; whole (64 digits) where somebody has that
    AWS_IAM                 AKIAEXAMPLE...              the access key's id, which is no secret
    tokens                  https://issuer|sub          a token itself has no bar in it
    anonymous               anonymous

A text that is none of these may be a credential that was sent by mistake: whoever asks here does not repeat or log it.
May not know what is configured: an access key id or issuer that looks otherwise is known by that only.
"""

from __future__ import annotations

import re

from fanout.auth.api_keys import DIGEST_DIGITS, DIGEST_PREFIX, NAME_DIGITS
from fanout.auth.authorizer import ANONYMOUS

ISSUER_END = "|"
"""What stands between a token's issuer and its subject."""

# An access key's id begins so and has 20 or more characters (AWS IAM guide, "Understanding unique ID prefixes").
_NAME = re.compile(
    rf"{DIGEST_PREFIX}([0-9a-fA-F]{{{NAME_DIGITS}}}|[0-9a-fA-F]{{{DIGEST_DIGITS}}})"
    r"|(AKIA|ASIA)[A-Z0-9]{16,124}"
    rf"|https?://[^\s{ISSUER_END}]+\{ISSUER_END}.+"
    rf"|{ANONYMOUS}"
)


def is_identity_name(text: str) -> bool:
    """Whether a text is the name of an identity by its looks, and so no credential."""
    return _NAME.fullmatch(text) is not None


def shorten_subject(subject: str) -> str:
    """The name of an identity as connections have it, also from a whole digest as a configuration has it."""
    digits = subject.removeprefix(DIGEST_PREFIX)
    if subject.startswith(DIGEST_PREFIX) and len(digits) in (NAME_DIGITS, DIGEST_DIGITS):
        return DIGEST_PREFIX + digits[:NAME_DIGITS].lower()
    return subject
