"""The engine: who is subscribed, and what an event writes to whom. Does no I/O of its own.

The control path changes the registry, the data path reads it; they meet nowhere else.
"""

from fanout.engine.dispatch import Dispatcher
from fanout.engine.registry import Group, GroupKey, Pending, Registry, Subscription
from fanout.engine.wheel import Wheel

__all__ = ["Dispatcher", "Group", "GroupKey", "Pending", "Registry", "Subscription", "Wheel"]
