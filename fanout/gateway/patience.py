"""Refusals of WebSocket clients, held back: what decides about them, wrapped. Knows no connection.

A refusal that is held back is a decision like any other that takes a while: one future and one timer, given up with the
connection or subscription that waits for it. Who is let in, and who is not refused, costs nothing but a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fanout.auth import Refusals
from fanout.errors import Unauthorized
from fanout.gateway.addresses import AddressReader
from fanout.model import Call, Identity

Authorize = Callable[[Call], Identity | Awaitable[Identity]]


def hold_refusals(authorize: Authorize, refusals: Refusals, addresses: AddressReader) -> Authorize:
    """Decide as `authorize` does, by addresses that can be believed, and tell refusals as late as `refusals` says.

    What it returns is to be called on the event loop; an awaitable of its is to be awaited or cancelled.
    """

    def decide(call: Call) -> Identity | Awaitable[Identity]:
        asked_at = refusals.now()
        if len(call.addresses) > 1:
            call = replace(call, addresses=addresses.trace(call.addresses))
        try:
            decision = authorize(call)
            if isinstance(decision, Identity) and _is_of_another(call, decision):
                raise Unauthorized
        except Unauthorized as fault:
            wait_s = refusals.hold(_find_address(call, addresses), asked_at)
            if not wait_s:
                raise
            refused: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
            _refuse_later(refused, fault, wait_s, refusals)
            return refused
        if isinstance(decision, Identity):
            return decision
        return _follow(asyncio.ensure_future(decision), call, asked_at, refusals, addresses)

    return decide


def _follow(
    deciding: asyncio.Future[Identity], call: Call, asked_at: float, refusals: Refusals, addresses: AddressReader
) -> asyncio.Future[Identity]:
    outcome: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()

    def on_decided(_: asyncio.Future[Identity]) -> None:
        if deciding.cancelled():
            outcome.cancel()
            return
        fault = deciding.exception()
        if outcome.done():
            return  # nobody waits any more
        if fault is None and _is_of_another(call, deciding.result()):
            fault = Unauthorized()
        if fault is None:
            outcome.set_result(deciding.result())
        elif isinstance(fault, Unauthorized) and (wait_s := refusals.hold(_find_address(call, addresses), asked_at)):
            _refuse_later(outcome, fault, wait_s, refusals)
        else:
            outcome.set_exception(fault)

    deciding.add_done_callback(on_decided)
    outcome.add_done_callback(lambda _: deciding.cancel())
    return outcome


def _is_of_another(call: Call, identity: Identity) -> bool:
    """Fresh credentials of somebody else are wrong ones, and are not to be told from others by time."""
    return call.renews is not None and not identity.is_same_client(call.renews)


def _refuse_later(outcome: asyncio.Future[Identity], fault: Unauthorized, wait_s: float, refusals: Refusals) -> None:
    def refuse() -> None:
        if not outcome.done():
            outcome.set_exception(fault.with_traceback(None))  # which would hold on to all that it passed

    def on_end(_: asyncio.Future[Identity]) -> None:
        timer.cancel()
        refusals.release()

    timer = asyncio.get_running_loop().call_later(wait_s, refuse)
    outcome.add_done_callback(on_end)


def _find_address(call: Call, addresses: AddressReader) -> str:
    *hops, peer = call.addresses or ("unix",)
    return addresses.read(peer, hops)
