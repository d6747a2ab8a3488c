"""What runs an API's resolvers: real processes, replaced as a whole, none where there is nothing to run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fanout.errors import ConfigurationError, Unavailable
from fanout.metrics import Metrics
from fanout.resolvers.pool import Pool
from fanout.resolvers.runtime import RuntimeHost
from fanout.schema import Resolver
from fanout.settings import Settings
from tests.fanout.resolvers.written import SCHEMA, UNIT, invoke, write


def configure(folder: Path | None, **settings: Any) -> Settings:
    return Settings.model_validate({"resolvers": folder, "resolver_processes": 1} | settings)


@asynccontextmanager
async def run(settings: Settings) -> AsyncIterator[RuntimeHost]:
    host = RuntimeHost(settings, SCHEMA, Metrics())
    host.start()
    try:
        yield host
    finally:
        await asyncio.wait_for(host.stop(), 30)


async def resolve(host: RuntimeHost) -> Any:
    return (await host.resolvers["Mutation", "create"].resolve(invoke({"id": "a"}))).value


async def wait_until_closed(resolver: Resolver) -> None:
    async def ask_on() -> None:
        while True:
            await resolver.resolve(invoke())

    with pytest.raises(Unavailable):
        await asyncio.wait_for(ask_on(), 30)


async def test_fields_are_resolved_in_processes(tmp_path: Path) -> None:
    async with run(configure(write(tmp_path, {"Mutation.create.js": UNIT}))) as host:
        assert await resolve(host) == {"id": "a"}
        assert host.describe() == ["Mutation.create: Mutation.create.js (NONE)"]
        resolver = host.resolvers["Mutation", "create"]
    with pytest.raises(Unavailable):
        await resolver.resolve(invoke())


async def test_nothing_runs_where_there_are_no_resolvers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start(self: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("fanout.resolvers.pool.Pool.start", start)
    for folder in (None, tmp_path):
        async with run(configure(folder)) as host:
            assert (host.resolvers, host.describe()) == ({}, [])


def test_settings_for_resolvers_want_their_directory() -> None:
    with pytest.raises(ConfigurationError, match=r"give the directory of the resolvers, by `resolvers` or --resolvers"):
        RuntimeHost(configure(None, resolver={"Mutation.create": {}}), SCHEMA, Metrics())


async def test_what_is_the_same_is_kept(tmp_path: Path) -> None:
    settings = configure(write(tmp_path, {"Mutation.create.js": UNIT}))
    async with run(settings) as host:
        assert host.is_current(host.prepare(settings, SCHEMA))
        signing = {"region": "r", "service": "s", "access_key_id": "A", "secret_access_key": "one"}
        orders = {"type": "HTTP", "endpoint": "https://a", "signing": signing}
        signed = configure(tmp_path, data_source={"orders": orders})
        host.replace(host.prepare(signed, SCHEMA))
        assert host.is_current(host.prepare(signed, SCHEMA))
        signing["secret_access_key"] = "two"
        assert not host.is_current(host.prepare(configure(tmp_path, data_source={"orders": orders}), SCHEMA))


async def test_a_new_runtime_takes_over_and_the_former_ends_its_requests(tmp_path: Path) -> None:
    settings = configure(write(tmp_path, {"Mutation.create.js": UNIT}), request_execution_timeout_ms=1)
    async with run(settings) as host:
        former = host.resolvers["Mutation", "create"]
        under_way = asyncio.ensure_future(former.resolve(invoke({"id": "a"})))
        write(tmp_path, {"Mutation.create.js": UNIT.replace("return ctx.result", "return 'new'")})
        runtime = host.prepare(settings, SCHEMA)
        host.start(runtime)
        assert await resolve(host) == {"id": "a"}
        host.replace(runtime)
        assert await resolve(host) == "new"
        assert (await under_way).value == {"id": "a"}

        await wait_until_closed(former)
        assert former.version != host.resolvers["Mutation", "create"].version


async def test_few_former_ones_are_kept_however_often_it_is_reloaded(tmp_path: Path) -> None:
    settings = configure(write(tmp_path, {"Mutation.create.js": UNIT}))
    async with run(settings) as host:
        resolvers = [host.resolvers["Mutation", "create"]]
        for number in range(5):
            write(tmp_path, {"Mutation.create.js": UNIT.replace("ctx.result", str(number))})
            runtime = host.prepare(settings, SCHEMA)
            host.start(runtime)
            host.replace(runtime)
            resolvers.append(host.resolvers["Mutation", "create"])
        await wait_until_closed(resolvers[0])
        await wait_until_closed(resolvers[1])
        kept = [(await each.resolve(invoke({}))).value for each in resolvers[2:]]
        assert kept == [1, 2, 3, 4]


async def test_what_cannot_be_read_leaves_everything_as_it_was(tmp_path: Path) -> None:
    settings = configure(write(tmp_path, {"Mutation.create.js": UNIT}))
    async with run(settings) as host:
        write(tmp_path, {"Mutation.create.js": "?"})
        with pytest.raises(ConfigurationError, match=r"Mutation\.create\.js:1:"):
            host.prepare(settings, SCHEMA)
        assert await resolve(host) == {"id": "a"}


async def test_one_that_never_took_over_does_not_stay(tmp_path: Path) -> None:
    settings = configure(write(tmp_path, {"Mutation.create.js": UNIT}), request_execution_timeout_ms=1)
    async with run(settings) as host:
        runtimes = []
        for text in ("'one'", "'two'"):
            write(tmp_path, {"Mutation.create.js": UNIT.replace("ctx.result", text)})
            runtimes.append(host.prepare(settings, SCHEMA))
            host.start(runtimes[-1])
        given_up, _ = (each.resolvers["Mutation", "create"] for each in runtimes)
        await wait_until_closed(given_up)
        assert await resolve(host) == {"id": "a"}
        host.replace(runtimes[-1])
        assert await resolve(host) == "two"


async def test_a_queue_without_end_does_not_keep_a_gateway_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fanout.resolvers.runtime._LONGEST_STOP_SECONDS", 0.01)
    may_end = asyncio.Event()
    close = Pool.close

    async def close_late(pool: Pool) -> None:
        await may_end.wait()
        await close(pool)

    monkeypatch.setattr(Pool, "close", close_late)
    async with run(configure(write(tmp_path, {"Mutation.create.js": UNIT}))) as host:
        await resolve(host)
    assert "calls of resolvers had not ended" in caplog.text
    may_end.set()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
