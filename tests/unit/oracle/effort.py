"""How hard hypothesis tries here: only the number of examples bounds a test, so that a busy machine fails none.

Every run tries other examples (``derandomize=False``, also where CI would have it otherwise); a failure prints the
blob that reproduces it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

_UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def at_most(examples: int) -> settings:
    return settings(_UNHURRIED, max_examples=examples, derandomize=False)


# For asking whether something is generated at all: the same answer every time, and no smallest example.
REACHABLE = settings(_UNHURRIED, max_examples=3000, derandomize=True, database=None, phases=[Phase.generate])
