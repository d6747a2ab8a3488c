"""Key names: no two things share one, and what a script touches is in one slot."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from fanout.bus.keys import CATCH_ALL_PATH, Keys, path_member, split_path_member
from fanout.model import Bucket

# A busy machine is no reason to fail.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.from_regex(r"[_A-Za-z][_0-9A-Za-z]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
BUCKETS = st.builds(Bucket, NAMES, TEXTS, TEXTS)


@relaxed
@given(BUCKETS, BUCKETS)
def test_different_buckets_have_different_keys(one: Bucket, other: Bucket) -> None:
    keys = Keys("p:")
    assert (keys.bucket(one) == keys.bucket(other)) == (one == other)
    assert keys.bucket(one) == keys.bucket_stem(one.field, one.path) + one.token


def test_a_colon_in_a_path_does_not_make_buckets_meet() -> None:
    keys = Keys("p:")
    assert keys.bucket(Bucket("f", "a:b", "c")) != keys.bucket(Bucket("f", "a", "b:c"))
    assert keys.bucket(Bucket("f", "a.b", "sx")) == "p:bucket:f:a.b:sx"
    assert keys.bucket(Bucket("f", CATCH_ALL_PATH, "")) == "p:bucket:f::"


@relaxed
@given(NAMES, NAMES, TEXTS)
def test_path_members_are_taken_apart_again(gateway_id: str, field: str, path: str) -> None:
    assert split_path_member(path_member(gateway_id, field, path)) == (gateway_id, field, path)


def test_what_belongs_together_is_in_one_slot() -> None:
    keys = Keys("fanout:")
    for together in (
        (keys.gateways, keys.gateways_version),
        (keys.paths, keys.paths_version),
        (keys.heartbeat("g"), keys.inbox("g"), keys.buckets("g")),
        (keys.lease("s"), keys.checkpoint("s"), keys.dead_letters("s"), "s"),
        (keys.lease("{t}:s"), keys.checkpoint("{t}:s")),
    ):
        assert len({key_slot(key.encode()) for key in together}) == 1


@relaxed
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_idempotency_keys_are_per_stream(stream: str, key: str, other_stream: str, other_key: str) -> None:
    keys = Keys("p:")
    same = (stream, key) == (other_stream, other_key)
    assert (keys.idempotency(stream, key) == keys.idempotency(other_stream, other_key)) == same
