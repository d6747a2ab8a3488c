"""The histogram counts as Prometheus defines it: upper bounds are inclusive."""

from hypothesis import given
from hypothesis import strategies as st

from fanout.metrics import Histogram, Metrics


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), max_size=30))
def test_every_observation_is_in_one_bucket(observations: list[tuple[float, int]]) -> None:
    histogram = Histogram((0.1, 1.0, 10.0))
    for seconds, times in observations:
        histogram.observe(seconds, times)
    for index, bound in enumerate(histogram.bounds):
        expected = sum(times for seconds, times in observations if seconds <= bound)
        assert sum(histogram.counts[: index + 1]) == expected
    assert sum(histogram.counts) == sum(times for _, times in observations)


def test_metrics_of_two_gateways_are_apart() -> None:
    first, second = Metrics(), Metrics()
    first.closes["idle"] += 1
    first.publish_to_write.observe(1)
    assert second.closes["idle"] == 0
    assert sum(second.publish_to_write.counts) == 0
