"""How hard hypothesis tries here: ``PROTOCOL_EFFORT`` times as many histories (default 1: what CI has time for)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EFFORT = float(os.environ.get("PROTOCOL_EFFORT", "1"))

HISTORIES = settings(
    max_examples=max(1, round(200 * EFFORT)),
    stateful_step_count=50,
    deadline=None,
    derandomize=False,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
