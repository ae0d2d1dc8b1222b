"""A control plane for each file: KubeVirt's kinds, nodes and pods of one must not be seen by the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import establish_crds
from tests.controlplane.control_plane import ControlPlane


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The one control plane of this file, with the CRDs of this checkout established."""
    with ControlPlane.start(tmp_path_factory.mktemp("control-plane")) as plane:
        establish_crds(plane)
        yield plane
