"""Where the programs of a control plane come from.

Each is taken from the first place that has it: the directory KUBEBUILDER_ASSETS, PATH, our cache. Those that none has
are downloaded as official releases, and if no release site can be reached they are built from Go modules. What was
fetched or built is moved into the cache whole, so an interrupted run leaves no half program, and under a lock, so two
runs at once do the work once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.controlplane import go_modules, releases
from tests.controlplane.programs import ETCD, KUBERNETES, KUBERNETES_VERSION, PROGRAMS, UnavailableError
from tests.controlplane.releases import Say


def say_on_stderr(line: str) -> None:
    """Print progress where it does not mix with a command's answer."""
    print(line, file=sys.stderr, flush=True)


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where fetched and built programs are kept: below MDEV_CACHE, or the user's cache directory."""
    ours = environment.get("MDEV_CACHE")
    if ours:
        base = Path(ours).absolute()
    else:
        caches = environment.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        base = Path(caches).absolute() / "mdev-operator"
    return base / "controlplane" / f"v{KUBERNETES_VERSION}" / "bin"


def find(programs: Sequence[str] = PROGRAMS, *, environment: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Return the programs that are on this machine, by name; those that are not are left out."""
    assets = environment.get("KUBEBUILDER_ASSETS")
    places = [assets] if assets else []
    # An empty PATH means none; shutil.which() would take None for the default one.
    places += [environment.get("PATH", ""), str(cache_directory(environment))]
    found = {}
    for program in programs:
        paths = (shutil.which(program, path=place) for place in places if place)
        path = next((path for path in paths if path), None)
        if path:
            found[program] = Path(path).absolute()
    return found


def ensure(
    programs: Sequence[str] = PROGRAMS,
    *,
    environment: Mapping[str, str] = os.environ,
    say: Say = say_on_stderr,
) -> dict[str, Path]:
    """Return every program by name, fetched or built first where it is missing.

    Raises UnavailableError if one cannot be had in any way, with what each way said, and ChecksumError if a download
    is not what was published.
    """
    found = find(programs, environment=environment)
    if len(found) == len(programs):
        return found
    cache = cache_directory(environment)
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache.parent / "lock", say):
        found = find(programs, environment=environment)
        missing = [program for program in programs if program not in found]
        if missing:
            say(f"not on this machine: {', '.join(missing)}; getting Kubernetes {KUBERNETES_VERSION} into {cache}")
            _obtain(missing, cache, environment, say)
    return find(programs, environment=environment)


def _obtain(missing: Sequence[str], cache: Path, environment: Mapping[str, str], say: Say) -> None:
    def keep(path: Path) -> None:
        path.replace(cache / path.name)

    problems = []
    with tempfile.TemporaryDirectory(prefix="getting-", dir=cache.parent) as name:
        directory, left = Path(name), list(missing)
        # The two sites are apart: one that cannot be reached says nothing about the other.
        for group in ((ETCD,), KUBERNETES):
            try:
                for program in [program for program in missing if program in group]:
                    keep(releases.download(program, directory, sites=releases.sites_from(environment), say=say))
                    left.remove(program)
            except UnavailableError as error:
                problems.append(f"download: {error}")
                say(f"no release to download: {error}")
        if not left:
            return
        try:
            go_modules.build(left, directory, environment=environment, say=say, done=keep)
        except UnavailableError as error:
            problems.append(f"build: {error}")
            raise UnavailableError(_nothing_helps(left, problems)) from error


def _nothing_helps(left: Sequence[str], problems: Sequence[str]) -> str:
    tried = "\n".join(f"  {problem}" for problem in problems)
    return (
        f"cannot get {', '.join(left)}, which the tests against a real API server need:\n{tried}\n"
        "Any one of these helps: set KUBEBUILDER_ASSETS to a directory that has them (setup-envtest makes one), put "
        f"them on PATH, set MDEV_RELEASE_URL to a mirror of the releases, or install Go {go_modules.GO_SERIES} and set "
        "GOPROXY so that it reaches a module proxy.\n"
        "Without them the unit tests still work: pytest tests/unit"
    )


@contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is getting the programs of the control plane; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
