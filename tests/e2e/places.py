"""Where the tests in kind keep what they make: built things in the cache, what runs below ``.run`` of the checkout."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "deploy"
RUN = CHECKOUT / ".run" / "e2e"


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """``$MDEV_CACHE/e2e``, by default below the user's cache directory."""
    if ours := environment.get("MDEV_CACHE"):
        return Path(ours).absolute() / "e2e"
    caches = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches).absolute() / "mdev-operator" / "e2e"
