"""The project's two images, built from deploy/images and what is in this checkout.

The wheels are made on the host, which reaches a package registry in whatever way it does, and only copied into the
image: pip in a build would know neither the registry's address nor its certificates. The pinned dependencies are kept
in the cache; our own packages are built anew, which takes a second each.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.command import run, step, succeeds
from tests.e2e.node_image.build import debian
from tests.e2e.places import CHECKOUT, DEPLOY, cache

VERSION = "0.1.0"
PACKAGES = {"operator": ("crds", "operator"), "node-agent": ("crds", "node-agent")}
NAMES = {"operator": f"mdev-operator:{VERSION}", "node-agent": f"mdev-node-agent:{VERSION}"}
USUAL_BASE = "python:3.11-slim"
PYTHON_PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")


def ensure(environment: Mapping[str, str]) -> list[str]:
    """Build what has changed since it was built; the names of both images, by this checkout's content."""
    return [_ensure(part, environment) for part in PACKAGES]


def _ensure(part: str, environment: Mapping[str, str]) -> str:
    content = _content(part)
    kept = f"{NAMES[part].partition(':')[0]}:e2e-{content}"
    if not succeeds("docker", "image", "inspect", kept, environment=environment):
        base = _base(environment)
        with step(f"building {NAMES[part]}", "15 s"), tempfile.TemporaryDirectory() as name:
            context = Path(name)
            _collect_wheels(part, context / "wheels")
            file = DEPLOY / "images" / f"Containerfile.{part}"
            arguments = (f"--build-arg=BASE={base}", f"--file={file}", f"--tag={kept}")
            run("docker", "build", "-q", *arguments, context, environment=environment)
    run("docker", "tag", kept, NAMES[part], environment=environment)
    return kept


def _base(environment: Mapping[str, str]) -> str:
    if succeeds("docker", "image", "inspect", USUAL_BASE, environment=environment):
        return USUAL_BASE
    if succeeds("docker", "pull", "-q", USUAL_BASE, environment=environment, timeout=120):
        return USUAL_BASE
    return debian(environment, "python", PYTHON_PACKAGES)


def _collect_wheels(part: str, target: Path) -> None:
    lock = DEPLOY / "images" / f"{part}.lock"
    kept = cache() / "wheels" / f"{part}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:10]}"
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part_of_it = Path(tempfile.mkdtemp(dir=kept.parent))
        run(*pip, "--require-hashes", f"--requirement={lock}", f"--wheel-dir={part_of_it}")
        part_of_it.rename(kept)
    shutil.copytree(kept, target)
    own = [CHECKOUT / package for package in PACKAGES[part]]
    run(*pip, "--no-build-isolation", "--no-index", f"--wheel-dir={target}", *own)


def _content(part: str) -> str:
    """Changes with every file that ends up in the image."""
    digest = hashlib.sha256()
    files = [DEPLOY / "images" / f"Containerfile.{part}", DEPLOY / "images" / f"{part}.lock"]
    for package in PACKAGES[part]:
        directory = CHECKOUT / package
        files += [directory / "pyproject.toml", *sorted((directory / "src").rglob("*.py"))]
    for file in files:
        digest.update(f"{file.relative_to(CHECKOUT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:10]
