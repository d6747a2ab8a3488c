"""The room of what has to be fetched to decide who is asking: key sets of issuers, answers of authorizer functions.

An edge, beside gateway, web and bus. What is decided by it is `fanout.auth`'s.
"""

from __future__ import annotations

from fanout.trust.key_sets import KeySets
from fanout.trust.outgoing import build_client
from fanout.trust.providers import build_providers

__all__ = ["KeySets", "build_client", "build_providers"]
