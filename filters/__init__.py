"""The filter language of AppSync's enhanced subscription filtering: a library of its own.

A filter goes through these steps, each a module that knows only those before it:

    transform   what clients write (and / or / field: {operator: value}) -> the filterGroup form
    parse       the filterGroup form, or plain arguments -> Filter
    model       Filter: an OR of AND-groups in canonical form; operators has the meaning of each condition
    compile     Filter -> predicate on an event
    buckets     Filter, or event -> keys under which one finds the other, also from another process
    accesses    AND-groups -> those that an event could match, without looking at the others
    index       many filters -> those that an event matches

It has no dependencies, and knows neither GraphQL nor Redis nor asyncio. All of it may be called from any thread,
except that a `FilterIndex` has one owner.
"""

from filters.buckets import CATCH_ALL, BucketKey, bucket_keys, event_bucket_keys
from filters.compile import Predicate, compile_filter
from filters.errors import FilterError
from filters.index import FilterIndex
from filters.model import MATCH_ALL, Condition, Filter, FilterLimits, intersect_filters, unite_filters
from filters.operators import Operator, Scalar
from filters.parse import build_equality_filter, parse_filter
from filters.transform import to_subscription_filter

__all__ = [
    "Scalar",
    "Operator",
    "Condition",
    "Filter",
    "MATCH_ALL",
    "FilterLimits",
    "FilterError",
    "parse_filter",
    "to_subscription_filter",
    "build_equality_filter",
    "intersect_filters",
    "unite_filters",
    "Predicate",
    "compile_filter",
    "BucketKey",
    "CATCH_ALL",
    "bucket_keys",
    "event_bucket_keys",
    "FilterIndex",
]
