"""The engine: who is subscribed, and what an event writes to whom. Does no I/O of its own.

The control path changes the registry, the data path reads it; they meet nowhere else.
"""

from fanout.engine.catchup import CatchUp
from fanout.engine.dispatch import Dispatcher
from fanout.engine.history import Chunk, History, HistoryGone, Look, Place, Places, Token
from fanout.engine.joining import Joining
from fanout.engine.registry import Group, GroupKey, Pending, Registry, Subscription
from fanout.engine.wheel import Wheel

__all__ = [
    # who is subscribed
    "Registry",
    "Group",
    "GroupKey",
    "Pending",
    "Subscription",
    # what they get, live
    "Dispatcher",
    "Wheel",
    # and from the past
    "CatchUp",
    "Joining",
    "History",
    "HistoryGone",
    "Chunk",
    "Look",
    "Place",
    "Places",
    "Token",
]
