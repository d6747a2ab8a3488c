"""The room of decisions about identity, pure: who is asking, given headers; never what they may see.

Today API keys, one set for clients and one for publishers. No I/O, no asyncio; the clock is passed in.
"""

from __future__ import annotations

from fanout.auth.api_keys import ApiKeys, generate_key
from fanout.auth.authorizer import Authorizer

__all__ = ["ApiKeys", "Authorizer", "generate_key"]
