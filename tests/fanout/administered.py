"""One gateway's administration over files and a clock of the test, and what it does to everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import orjson

from fanout.administration import Administration
from fanout.gateway import Ended
from fanout.key_orders import KeyOrders
from fanout.key_watch import KeyWatch
from fanout.metrics import Metrics
from fanout.model import Call, CallKind, Identity, StoredKey
from fanout.reload import PreparedResolvers, Reload, build_api, build_authorizer
from fanout.service import load_schema
from fanout.settings import SettingsSource

SDL = """
type Query { a: Int } type Mutation { m(id: ID): M }
type M { id: ID }
type Subscription { onM(id: ID): M @aws_subscribe(mutations: ["m"]) }
"""
FILE = """
schema = "{schema}"
api_key = ["one", "two"]
admin_key = ["admin"]
[subscriptions.onM]
invalidation_filter = {{ id = {{ eq = "$args.id" }} }}
"""


class Oversight:
    """Notes what is done."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.revoked: list[Identity] = []
        self.identities: list[Identity] = []
        self.guests_expire_at = inf

    def invalidate(self, field: str, payload: object) -> Ended:
        self.done.append(("invalidate", field, payload))
        return Ended(1, 2)

    def close_identity(self, subject: str) -> Ended:
        self.done.append(("identity", subject))
        return Ended(3, 4)

    def close_connection(self, id: str) -> Ended:
        self.done.append(("connection", id))
        return Ended(1, 0)

    def revoke(self, holds: Any) -> Ended:
        gone = [identity for identity in self.identities if not holds(identity)]
        self.revoked += gone
        self.identities = [identity for identity in self.identities if identity not in gone]
        return Ended(len(gone), 0)

    def end_expired_guests(self, now: float) -> Ended:
        self.done.append(("guests", now))
        self.guests_expire_at = inf
        return Ended()

    async def change_api(self, replan: Any, commit: Any) -> Ended:
        del replan
        self.done.append("api")
        commit()
        return Ended(0, 1)

    def end_denied(self, find_denial: Any) -> Ended:
        self.find_denial = find_denial
        self.done.append("denied")
        return Ended(0, 5)

    def list_connections(self, after: str, limit: int, subject: str) -> list[Any]:
        self.done.append(("list", after, limit, subject))
        return []


class Keyring:
    """Stored keys that the test chooses."""

    def __init__(self) -> None:
        self.keys: list[StoredKey] = []
        self.failure: Exception | None = None
        self.reads = 0

    async def read(self) -> list[StoredKey]:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return list(self.keys)

    async def add(self, key: StoredKey, limit: int) -> bool:
        assert limit
        self.keys.append(key)
        return True

    async def remove(self, digest: bytes) -> bool:
        self.keys = [key for key in self.keys if key.digest != digest]
        return True


class Wheel:
    def now_ms(self) -> int:
        return 0

    def schedule(self, item: object, due_ms: int) -> None: ...

    def cancel(self, item: object) -> None: ...


@dataclass
class Announced:
    told: int
    answers: dict[str, bytes]


class Deployment:
    """One gateway's administration over files, and a second gateway that answers what the test says."""

    def __init__(self, directory: Path) -> None:
        self.schema = directory / "api.graphql"
        self.config = directory / "fanout.toml"
        self.write()
        self.source = SettingsSource({}, {}, self.config, {"publisher_key": ("generated",)})
        settings = self.source.read()
        self.api = build_api(load_schema(settings.schema_path), settings)
        self.now_s = 1_700_000_000.0
        self.authorizer = build_authorizer(settings, lambda: self.now_s)
        self.oversight: Any = Oversight()
        self.keyring = Keyring()
        self.metrics = Metrics()
        self.levels: list[str] = []
        self.other: bytes | None = None
        self.told: list[Any] = []
        self.resolvers = PreparedResolvers()
        self.key_watch = KeyWatch(
            self.authorizer,
            self.oversight,
            self.keyring,
            Wheel(),  # type: ignore[arg-type]
            lambda: self.now_s,
        )
        self.reload = Reload(
            settings,
            self.source,
            lambda read: load_schema(read.schema_path),
            lambda _: (),
            lambda settings, schema: self.resolvers,
            self.api,
            self.authorizer,
            self.key_watch.revoke,
            self.oversight,
            self.levels.append,
            self.metrics,
            lambda: self.now_s,
        )
        self.administration = Administration(
            self.api,
            self.oversight,
            self._announce,
            lambda: "here",
            self.reload,
            KeyOrders(self.keyring, self._announce, lambda: self.now_s),
            self.key_watch,
        )

    def write(self, sdl: str = SDL, file: str = FILE) -> None:
        self.schema.write_text(sdl)
        self.config.write_text(file.format(schema=self.schema))

    async def _announce(self, body: bytes, wait_s: float) -> Announced:
        if not wait_s:
            self.told.append(orjson.loads(body))
            return Announced(2, {})
        answers = {"here": await self.administration.obey(body)}
        if self.other is None:
            return Announced(2, answers)
        return Announced(2, {**answers, "there": self.other})


@asynccontextmanager
async def run_deployment(directory: Path) -> AsyncIterator[Deployment]:
    """Files in a directory, and an administration that runs until the block ends."""
    deployment = Deployment(directory)
    deployment.key_watch.start()
    yield deployment
    await deployment.key_watch.stop()
    await deployment.reload.stop()


def identify(deployment: Deployment, key: str) -> Identity:
    """Whose key it is.

    Raises:
        Unauthorized: nobody's.
    """
    identity = deployment.authorizer.authorize_client(Call(CallKind.CONNECT, {"x-api-key": key}))
    assert isinstance(identity, Identity)
    return identity
