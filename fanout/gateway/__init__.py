"""The WebSocket edge: connections under uvicorn, and what their sessions ask for. Owns all sockets of clients."""

from fanout.gateway.addresses import AddressReader
from fanout.gateway.backlog import Backlogs
from fanout.gateway.connection import Connection
from fanout.gateway.gateway import Gateway
from fanout.gateway.http_protocol import HttpProtocol, build_http_class
from fanout.gateway.limits import Limits
from fanout.gateway.oversight import ConnectionInfo, Ended, Oversight
from fanout.gateway.patience import hold_refusals
from fanout.gateway.server import Server
from fanout.gateway.subscriptions import Subscriptions
from fanout.gateway.upgrade import build_protocol_class

__all__ = [
    "AddressReader",
    "Backlogs",
    "Connection",
    "ConnectionInfo",
    "Ended",
    "Gateway",
    "HttpProtocol",
    "Limits",
    "Oversight",
    "Server",
    "Subscriptions",
    "build_http_class",
    "build_protocol_class",
    "hold_refusals",
]
