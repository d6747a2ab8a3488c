"""What `fanout keys` does and prints: a key on standard output and nothing else there, what people should know on
standard error. Knows the store and the orders; the command line itself is `fanout.cli`'s.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from fanout.bus import find_running, open_key_store
from fanout.errors import ConfigurationError, Unavailable
from fanout.key_orders import KeyOrders
from fanout.model import KeyKind
from fanout.settings import Settings

_COLUMNS = ("id", "kind", "state", "createdAt", "expiresAt", "description")
_HEADINGS = ("ID", "KIND", "STATE", "CREATED", "EXPIRES", "DESCRIPTION")


def create(settings: Settings, kind: KeyKind, description: str, days: int) -> None:
    """Make a key and print it.

    Raises:
        ConfigurationError: no Redis is given.
        ClientFault: a bad description, or too many keys.
        Unavailable: Redis did not answer.
    """

    async def act() -> dict[str, Any]:
        async with _open_orders(settings) as orders:
            return await orders.create(kind, description, days)

    made = asyncio.run(act())
    print(made["key"], flush=True)
    _tell(f"{made['id']}, kind {kind.value}, good until {made['expiresAt']}; {_count(made, 'accept it')}")
    _tell("This is the only time that the key is shown, since only its SHA-256 is kept: store it where it is needed.")


def list_all(settings: Settings, *, as_json: bool) -> None:
    """Print the stored keys, as a table or as one JSON array.

    Raises:
        ConfigurationError: no Redis is given.
        Unavailable: Redis did not answer.
    """

    async def act() -> list[dict[str, Any]]:
        async with _open_orders(settings) as orders:
            return await orders.list_keys()

    listed = asyncio.run(act())
    if as_json:
        print(orjson.dumps(listed).decode())
    elif not listed:
        _tell("no key is stored; those of the configuration are not listed here")
    else:
        print("\n".join(format_table([_HEADINGS, *([_show(key[name]) for name in _COLUMNS] for key in listed)])))


def revoke(settings: Settings, id: str) -> None:
    """Revoke a key, and print its id.

    Raises:
        ConfigurationError: no Redis is given.
        ClientFault: no key, or several, by this id.
        Unavailable: Redis did not answer.
    """

    async def act() -> dict[str, Any]:
        async with _open_orders(settings) as orders:
            return await orders.revoke(id)

    revoked = asyncio.run(act())
    print(revoked["id"], flush=True)
    ended = revoked["ended"]
    what = f"; closed {ended['connections']} connections, ended {ended['subscriptions']} subscriptions" if ended else ""
    _tell(f"revoked; {_count(revoked, 'refuse it')}{what}")


def find_stored(settings: Settings) -> set[KeyKind]:
    """The kinds of which a key is stored that has not expired; none without a Redis, or while it does not answer."""

    async def act() -> list[dict[str, Any]]:
        async with _open_orders(settings) as orders:
            return await orders.list_keys()

    if settings.redis_url is None:
        return set()
    try:
        return {KeyKind(key["kind"]) for key in asyncio.run(act()) if key["state"] == "active"}
    except Unavailable:  # whoever starts a gateway on it is told then
        return set()


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns that are as wide as they have to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


@asynccontextmanager
async def _open_orders(settings: Settings) -> AsyncIterator[KeyOrders]:
    if settings.redis_url is None:
        raise ConfigurationError(f"no Redis is given: {_advise()}")
    async with open_key_store(settings.redis_url, settings.key_prefix) as (store, teller):
        yield KeyOrders(store, teller.announce)


def _advise() -> str:
    """Where keys could be stored. An embedded server is not taken unasked: its keys are gone when it ends."""
    usual = "give --redis-url, FANOUT_REDIS_URL, or --config with redis_url, as to `fanout serve`"
    if running := find_running():
        return f"{usual}; for a service with an embedded Valkey, until that ends: --redis-url {' or '.join(running)}"
    return usual


def _count(result: Mapping[str, Any], what: str) -> str:
    gateways = result["gateways"]
    if gateways is None:
        return f"Redis went away before the gateways could be told: within 30 s after it is back they {what}"
    if not gateways["told"]:
        return f"no gateway runs on this Redis now; those that come will {what}"
    if gateways["answered"] < gateways["told"]:
        late = "the others when they go on, or are dead"
        return f"{gateways['answered']} of {gateways['told']} gateways {what} now, {late}"
    return f"{gateways['told']} of {gateways['told']} gateways {what}"


def _show(text: str) -> str:
    """Without what a terminal would take for a command: anybody who can write to Redis chooses descriptions."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
