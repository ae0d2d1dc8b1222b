"""Fixtures that any suite may use: the real control plane of the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.controlplane.binaries import ensure, find
from tests.controlplane.control_plane import ControlPlane
from tests.controlplane.programs import PROGRAMS, UnavailableError
from tests.controlplane.readiness import StartError
from tests.controlplane.releases import ChecksumError

CRDS = Path(__file__).resolve().parents[1] / "crds"

# How long one example takes on a busy machine says nothing of the code: time is for benchmarks.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The one control plane of this session, with the CRDs of this checkout established."""
    try:
        if len(find()) < len(PROGRAMS):
            # Getting them takes minutes, and pytest would keep every word about it until the end.
            capture = request.config.pluginmanager.getplugin("capturemanager")
            with capture.global_and_fixture_disabled():
                ensure()
        plane = ControlPlane.start(tmp_path_factory.mktemp("control-plane"))
    except (UnavailableError, ChecksumError, StartError) as error:
        pytest.fail(str(error), pytrace=False)
    with plane:
        establish_crds(plane)
        yield plane


def establish_crds(plane: ControlPlane) -> None:
    """Apply ``crds/*.yaml`` and wait until the API server serves them; does nothing where there are none."""
    manifests = [f"--filename={path}" for path in sorted(CRDS.glob("*.yaml"))]
    if manifests:
        plane.kubectl("apply", "--server-side", *manifests)
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", *manifests)
