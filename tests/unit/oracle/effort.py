"""How hard hypothesis tries here: only the number of examples bounds a test, so that a busy machine fails none.

An ordinary run tries the same examples each time: whether a change may land is no matter of luck. ``ORACLE_EFFORT``
asks for that many times as many, and others in each run; a failure prints the blob that reproduces it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

ASKED = os.environ.get("ORACLE_EFFORT")
EFFORT = float(ASKED or "1")

_UNHURRIED = settings(
    deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, derandomize=ASKED is None
)


def at_most(examples: int) -> settings:
    return settings(_UNHURRIED, max_examples=max(1, round(examples * EFFORT)))
