"""Names of all keys in Redis, under one prefix. Knows no command.

    {gateways}, {gateways}:version      ids of the gateways; a new token on every change
    {paths}, {paths}:version            `gateway|field|path` for each path in use as bucket key; likewise
    bucket:FIELD:PATH:TOKEN             ids of the gateways with a subscriber in this bucket
    {gateway:ID}:heartbeat              expires when the gateway is silent
    {gateway:ID}:inbox                  stream of the events routed to it
    {gateway:ID}:buckets                the bucket keys it is in, for whoever cleans up after it
    {STREAM}:lease, {STREAM}:checkpoint who routes the stream, and up to where it has been routed
    {STREAM}:wish                       how many streams a gateway routes that would take this one too
    {STREAM}:epoch                      tells the stream from another one by the same name
    {STREAM}:dead                       malformed entries
    {STREAM}:duplicates                 stream of the ids of entries that were dropped as repetitions
    {keys}                              hash of the keys that `fanout keys create` made: SHA-256 to what is known
    {announcements}                     stream of what gateways tell all others
    {announcements}:answers:ID          what the gateways answer to one of them; expires
    idempotency:STREAM:KEY              the entry of the stream that came with this key first

What is touched by one script has one hash tag (the part in braces), so that it is on one node of a Redis Cluster.
Event streams are not ours to name: they are used as the deployment gives them, without the prefix.
"""

from __future__ import annotations

from urllib.parse import quote

from fanout.model import Bucket

CATCH_ALL_PATH = ""
"""The path of a field's catch-all bucket, also in the set of paths in use; no filter can have an empty path."""


class Keys:
    """Key names of one deployment.

    Args:
        prefix: `Settings.key_prefix`.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.gateways = f"{prefix}{{gateways}}"
        self.gateways_version = f"{prefix}{{gateways}}:version"
        self.announcements = f"{prefix}{{announcements}}"
        self.stored_keys = f"{prefix}{{keys}}"
        self.paths = f"{prefix}{{paths}}"
        self.paths_version = f"{prefix}{{paths}}:version"

    def heartbeat(self, gateway_id: str) -> str:
        return f"{self._prefix}{{gateway:{gateway_id}}}:heartbeat"

    def inbox(self, gateway_id: str) -> str:
        return f"{self._prefix}{{gateway:{gateway_id}}}:inbox"

    def buckets(self, gateway_id: str) -> str:
        return f"{self._prefix}{{gateway:{gateway_id}}}:buckets"

    def bucket(self, bucket: Bucket) -> str:
        return self.bucket_stem(bucket.field, bucket.path) + bucket.token

    def bucket_stem(self, field: str, path: str) -> str:
        """What the bucket keys of a field and path begin with; the token is the rest, whatever is in it."""
        # A colon in a path must not make two buckets share a key: leaving one would leave the other.
        return f"{self._prefix}bucket:{field}:{quote(path, safe='.')}:"

    def lease(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}:lease"

    def checkpoint(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}:checkpoint"

    def wish(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}:wish"

    def epoch(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}:epoch"

    def duplicates(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}:duplicates"

    def dead_letters(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}:dead"

    def answers(self, announcement_id: str) -> str:
        return f"{self.announcements}:answers:{announcement_id}"

    def idempotency(self, stream: str, key: str) -> str:
        # Per stream: two streams have two routers, and which of them is first is chance.
        return f"{self._prefix}idempotency:{quote(stream, safe='')}:{key}"


def path_member(gateway_id: str, field: str, path: str) -> str:
    """The member of `Keys.paths` that says: this gateway has buckets of `field` by `path`."""
    return f"{gateway_id}|{field}|{path}"


def split_path_member(member: str) -> tuple[str, str, str]:
    """Gateway id, field and path of a member of `Keys.paths`; neither an id nor a GraphQL name has a bar in it."""
    gateway_id, field, path = member.split("|", 2)
    return gateway_id, field, path
