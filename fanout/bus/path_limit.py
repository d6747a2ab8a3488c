"""How many paths of a subscription field are used as bucket keys. Knows no connection.

Each path in use costs every event of the field a lookup, at every router. Clients choose the paths by their filters; so
beyond a number of them, buckets of further paths count as the field's catch-all bucket: this gateway is sent more
events then, and the filters decide as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fanout.bus.keys import CATCH_ALL_PATH
from fanout.metrics import Metrics
from fanout.model import Bucket


class PathLimit:
    """Which buckets registrations are placed in.

    Args:
        most_paths: paths of one field that are in use at a time.
        metrics: `paths_over_limit` is counted.
    """

    def __init__(self, most_paths: int, metrics: Metrics) -> None:
        self._most_paths = most_paths
        self._metrics = metrics
        # Registrations: by field and path, and of buckets that were placed in the catch-all bucket.
        self._by_path: dict[str, Counter[str]] = {}
        self._elsewhere: Counter[Bucket] = Counter()

    def place(self, buckets: Iterable[Bucket]) -> list[Bucket]:
        """The buckets to register in place of these."""
        return [self._place(bucket) for bucket in buckets]

    def take_back(self, buckets: Iterable[Bucket]) -> list[Bucket]:
        """The buckets to release in place of these, each of which was given to `place` before."""
        return [self._take_back(bucket) for bucket in buckets]

    def _place(self, bucket: Bucket) -> Bucket:
        if bucket.path == CATCH_ALL_PATH:
            return bucket
        paths = self._by_path.setdefault(bucket.field, Counter())
        if bucket.path in paths or len(paths) < self._most_paths:
            paths[bucket.path] += 1
            return bucket
        self._elsewhere[bucket] += 1
        self._metrics.paths_over_limit += 1
        return _catch_all(bucket)

    def _take_back(self, bucket: Bucket) -> Bucket:
        if bucket.path == CATCH_ALL_PATH:
            return bucket
        # Which of two registrations of a bucket is released does not matter: the other is in a bucket that covers it.
        if bucket in self._elsewhere:
            self._elsewhere[bucket] -= 1
            if not self._elsewhere[bucket]:
                del self._elsewhere[bucket]
            return _catch_all(bucket)
        paths = self._by_path[bucket.field]
        paths[bucket.path] -= 1
        if not paths[bucket.path]:
            del paths[bucket.path]
            if not paths:
                del self._by_path[bucket.field]
        return bucket


def _catch_all(bucket: Bucket) -> Bucket:
    return Bucket(bucket.field, CATCH_ALL_PATH, "")
