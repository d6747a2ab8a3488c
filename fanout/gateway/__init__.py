"""The WebSocket edge: connections under uvicorn, and what their sessions ask for. Owns all sockets of clients."""

from fanout.gateway.connection import Connection
from fanout.gateway.gateway import Gateway
from fanout.gateway.subscriptions import Subscriptions
from fanout.gateway.upgrade import HttpProtocol, build_protocol_class

__all__ = ["Connection", "Gateway", "HttpProtocol", "Subscriptions", "build_protocol_class"]
