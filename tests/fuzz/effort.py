"""How long fuzzing goes on: briefly in `make test`, and as long as asked for in `make fuzz MINUTES=`.

Every fuzz test is decorated with `fuzzed`. `python -m tests.fuzz` sets the variable for its rounds.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

EXAMPLES_VARIABLE = "FUZZ_EXAMPLES"
"""Examples per test."""

_BRIEF_EXAMPLES = 60

# No deadline: the machine may be busy with something else. No explanations: they take longer than finding.
fuzzed = settings(
    max_examples=int(os.environ.get(EXAMPLES_VARIABLE, _BRIEF_EXAMPLES)),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    print_blob=True,
)
