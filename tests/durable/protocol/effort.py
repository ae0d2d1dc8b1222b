"""How hard hypothesis tries here: ``PROTOCOL_EFFORT`` times as many histories, other ones in each run.

Without it the histories are the same in each run: whether a change may land is no matter of luck.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

ASKED = os.environ.get("PROTOCOL_EFFORT")
EFFORT = float(ASKED or "0.7")

HISTORIES = settings(
    max_examples=max(1, round(200 * EFFORT)),
    stateful_step_count=50,
    deadline=None,
    derandomize=ASKED is None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
