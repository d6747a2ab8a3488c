"""Keys and credentials end at their instant; stored keys are good from when they are announced until they are gone."""

from __future__ import annotations

from typing import Any

import pytest

from fanout.auth import digest_key
from fanout.errors import Unauthorized, Unavailable
from fanout.gateway import Ended
from fanout.model import Call, CallKind, Identity, KeyKind, StoredKey
from tests.fanout.administered import FILE, Deployment, identify
from tests.served import wait_until_async


async def test_a_key_that_expires_ends_its_connections(deployment: Deployment) -> None:
    deployment.write(file=FILE.replace('"one"', '"one@2030-01-01T00:00:00Z"'))
    expiry_s = 1_893_456_000
    deployment.now_s = expiry_s - 10
    await deployment.administration.reload()

    def connect() -> list[Identity]:
        return [identify(deployment, key) for key in ("one", "two")]

    one, two = deployment.oversight.identities = connect()
    assert deployment.key_watch.on_due(5000) == 6000
    assert deployment.oversight.revoked == []
    deployment.now_s = expiry_s
    deployment.key_watch.on_due(6000)
    assert deployment.oversight.revoked == [one]
    deployment.key_watch.on_due(7000)
    assert deployment.oversight.identities == [two]
    # A clock that is set back makes the key good, and then expire, once more.
    deployment.now_s = expiry_s - 10
    deployment.oversight.identities = connect()
    deployment.key_watch.on_due(8000)
    deployment.now_s = expiry_s
    deployment.key_watch.on_due(9000)
    assert deployment.oversight.revoked == [one, one]


async def test_a_defect_in_ending_what_has_expired_is_logged_and_it_is_tried_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.oversight.guests_expire_at = deployment.now_s

    def fail(now: float) -> Ended:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "end_expired_guests", fail)
        assert deployment.key_watch.on_due(5000) == 6000
    assert "what has expired could not be ended" in caplog.text
    assert deployment.key_watch.on_due(6000) == 7000
    assert deployment.oversight.done == [("guests", deployment.now_s)]


async def test_guests_whose_credentials_expire_are_ended(deployment: Deployment) -> None:
    deployment.oversight.guests_expire_at = deployment.now_s + 5
    deployment.key_watch.on_due(5000)
    assert deployment.oversight.done == []
    deployment.now_s += 5
    deployment.key_watch.on_due(6000)
    deployment.key_watch.on_due(7000)
    assert deployment.oversight.done == [("guests", deployment.now_s)]


async def test_a_stored_key_is_good_when_it_is_announced_until_it_is_gone(deployment: Deployment) -> None:
    administration = deployment.administration
    made = await administration.create_key(KeyKind.API, "mine", 1)
    assert made["gateways"] == {"told": 2, "answered": 1}
    identity = identify(deployment, made["key"])
    assert identity.subject == made["id"]
    assert identify(deployment, "one") is not identity
    deployment.oversight.identities = [identity, identify(deployment, "one")]
    # A reload keeps it, and so does whatever else is stored.
    await administration.reload()
    await administration.create_key(KeyKind.API, "another", 1)
    assert identify(deployment, made["key"]) == identity
    assert [key["description"] for key in (await administration.list_keys())["keys"]] == ["mine", "another"]
    assert deployment.oversight.revoked == []
    revoked = await administration.revoke_key(made["id"])
    assert revoked["ended"]["connections"] == 1
    assert deployment.oversight.revoked == [identity]
    with pytest.raises(Unauthorized):
        identify(deployment, made["key"])


async def test_what_a_revoked_key_has_opened_is_ended_at_the_next_look_where_a_defect_has_kept_it_open(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    administration = deployment.administration
    made = await administration.create_key(KeyKind.API, "", 1)
    identity = identify(deployment, made["key"])
    deployment.oversight.identities = [identity]

    def fail(holds: Any) -> Ended:
        raise ZeroDivisionError

    keys, deployment.keyring.keys = deployment.keyring.keys, []
    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "revoke", fail)
        with pytest.raises(ZeroDivisionError):
            await deployment.key_watch.load()
    assert (await deployment.key_watch.load()).connections == 1
    assert deployment.oversight.revoked == [identity]
    # Nor does a key stay good that came in the reading with the defect, and has gone since.
    deployment.keyring.keys = keys
    with monkeypatch.context() as patched:
        patched.setattr(deployment.oversight, "revoke", fail)
        with pytest.raises(ZeroDivisionError):
            await deployment.key_watch.load()
    deployment.keyring.keys = []
    await deployment.key_watch.load()
    with pytest.raises(Unauthorized):
        identify(deployment, made["key"])


async def test_each_kind_of_key_opens_its_own(deployment: Deployment) -> None:
    keys = {kind: (await deployment.administration.create_key(kind, "", 1))["key"] for kind in KeyKind}
    headers = {kind: {"x-api-key": key} for kind, key in keys.items()}
    authorizer = deployment.authorizer
    ways = {
        KeyKind.API: lambda given: authorizer.authorize_client(Call(CallKind.HTTP, given)),
        KeyKind.PUBLISHER: authorizer.authorize_publisher,
        KeyKind.ADMIN: authorizer.authorize_admin,
    }
    for kind, let_in in ways.items():
        for other, given in headers.items():
            if kind is other:
                let_in(given)
            else:
                with pytest.raises(Unauthorized):
                    let_in(given)


async def test_a_stored_key_expires_by_the_clock(deployment: Deployment) -> None:
    made = await deployment.administration.create_key(KeyKind.API, "", 1)
    identity = identify(deployment, made["key"])
    deployment.oversight.identities = [identity]
    deployment.now_s += 86_400 - 1
    deployment.key_watch.on_due(1000)
    assert deployment.oversight.revoked == []
    deployment.now_s += 1
    deployment.key_watch.on_due(2000)
    assert deployment.oversight.revoked == [identity]


async def test_stored_keys_are_read_now_and_then_and_soon_when_asked(deployment: Deployment) -> None:
    keyring = deployment.keyring
    key = StoredKey(digest_key("missed"), KeyKind.API, "", 0, int(deployment.now_s) + 10)
    deployment.key_watch.on_due(29_999)
    keyring.keys = [key]  # and nobody has told
    deployment.key_watch.on_due(30_000)
    deployment.key_watch.on_due(30_000)  # not twice at a time
    await wait_until_async(lambda: keyring.reads == 1)
    identify(deployment, "missed")
    deployment.key_watch.on_due(59_999)
    keyring.keys = []
    deployment.key_watch.look_soon()
    deployment.key_watch.on_due(60_000)
    await wait_until_async(lambda: keyring.reads == 2)
    with pytest.raises(Unauthorized):
        identify(deployment, "missed")


async def test_while_the_store_is_away_its_last_keys_stay_and_it_is_asked_again_soon(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    administration, keyring = deployment.administration, deployment.keyring
    made = await administration.create_key(KeyKind.API, "", 1)
    keyring.failure = Unavailable("Redis at there cannot be reached")
    revoked = await administration.obey(b'{"do": "keys"}')
    assert b"error" in revoked
    for tick in (1000, 2000, 3000):
        reads = keyring.reads
        deployment.key_watch.on_due(tick)
        await wait_until_async(lambda reads=reads: keyring.reads == reads + 1 and deployment.key_watch._looking.done())  # type: ignore[misc]
    identify(deployment, made["key"])
    lines = [record.getMessage() for record in caplog.records if "stay in force" in record.getMessage()]
    assert lines == ["Redis at there cannot be reached; the stored keys stay in force as they were read last"]
    keyring.failure = None
    keyring.keys = []
    deployment.key_watch.on_due(4000)
    await wait_until_async(deployment.key_watch._looking.done)
    with pytest.raises(Unauthorized):
        identify(deployment, made["key"])
