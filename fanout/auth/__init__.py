"""The room of decisions about identity, pure: who is asking, given headers; never what they may see.

Today API keys, one set each for clients, publishers and operators. No I/O, no asyncio; the clock is passed in.
"""

from __future__ import annotations

from fanout.auth.api_keys import ApiKeys, generate_key, is_identity_name, shorten_subject
from fanout.auth.authorizer import Authorizer

__all__ = ["ApiKeys", "Authorizer", "generate_key", "is_identity_name", "shorten_subject"]
