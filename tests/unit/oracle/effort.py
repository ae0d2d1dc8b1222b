"""How hard hypothesis tries here: only the number of examples bounds a test, so that a busy machine fails none.

Every run tries other examples (``derandomize=False``, also where CI would have it otherwise); a failure prints the
blob that reproduces it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_UNHURRIED = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)


def at_most(examples: int) -> settings:
    return settings(_UNHURRIED, max_examples=examples, derandomize=False)
