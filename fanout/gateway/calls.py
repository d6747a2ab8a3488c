"""What a client on a WebSocket asks to be let in for, as `fanout.auth` decides by it. Knows no connection."""

from __future__ import annotations

from collections.abc import Mapping

from fanout.gateway.addresses import FORWARDED_HEADER
from fanout.model import Call, CallKind, Identity, SubscribeRequest


def describe_connect(headers: Mapping[str, str], peer: str, renews: Identity | None = None) -> Call:
    """A connection that wants to initialise, or to be renewed; `peer` is the other end's address."""
    return Call(CallKind.CONNECT, headers, addresses=list_addresses(headers, peer), renews=renews)


def describe_subscribe(request: SubscribeRequest, peer: str) -> Call:
    """One subscription on a connection."""
    return Call(
        CallKind.SUBSCRIBE,
        request.headers,
        body=request.signed.encode(),
        query=request.query,
        operation_name=request.operation_name,
        variables=request.variables,
        addresses=list_addresses(request.headers, peer),
    )


def list_addresses(headers: Mapping[str, str], peer: str) -> tuple[str, ...]:
    """Where proxies say that a request comes from, believed or not, and where it does."""
    forwarded = headers.get(FORWARDED_HEADER)
    return (*(hop.strip() for hop in forwarded.split(",")), peer) if forwarded else (peer,)
