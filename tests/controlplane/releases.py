"""The official release binaries, downloaded only if their published checksum agrees.

Kubernetes publishes each program by itself with a ``.sha512`` and a ``.sha256`` file beside it; etcd publishes an
archive and one ``SHA256SUMS``. The checksum is fetched first: it is small, so a machine without internet finds out
within the timeout of one connection.
"""

from __future__ import annotations

import hashlib
import http.client
import platform
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.programs import ETCD, ETCD_VERSION, KUBERNETES_VERSION, UnavailableError

KUBERNETES_SITE = "https://dl.k8s.io/release"
ETCD_SITE = "https://github.com/etcd-io/etcd/releases/download"
CONNECT_TIMEOUT = 3.0
STALL_TIMEOUT = 30.0
CHUNK = 1 << 20

Say = Callable[[str], object]


class ChecksumError(RuntimeError):
    """What was downloaded is not what was published: nothing of it is kept, and nothing else is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """The base URLs; an empty one means that nothing is downloaded from there."""

    kubernetes: str = KUBERNETES_SITE
    etcd: str = ETCD_SITE


def architecture() -> str:
    """Return Go's name of this machine's architecture, as release file names have it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def download(program: str, directory: Path, *, sites: Sites, say: Say) -> Path:
    """Download one program into ``directory``, verify it, make it executable and return its path.

    Raises UnavailableError if it cannot be reached or is not published there, and ChecksumError if what came differs
    from its checksum.
    """
    if program == ETCD:
        return _download_etcd(directory, sites.etcd, say)
    return _download_kubernetes(program, directory, sites.kubernetes, say)


def _download_kubernetes(program: str, directory: Path, site: str, say: Say) -> Path:
    url = f"{_given(site)}/v{KUBERNETES_VERSION}/bin/linux/{architecture()}/{program}"
    algorithm, wanted = _published_checksum(url)
    target = directory / program
    say(f"downloading {url}")
    _fetch_verified(url, target, algorithm, wanted)
    target.chmod(0o755)
    return target


def _download_etcd(directory: Path, site: str, say: Say) -> Path:
    name = f"etcd-v{ETCD_VERSION}-linux-{architecture()}"
    base = f"{_given(site)}/v{ETCD_VERSION}"
    sums = _small(f"{base}/SHA256SUMS")
    listed = re.search(rf"^([0-9a-f]{{64}})[ *]+{re.escape(name)}\.tar\.gz$", sums, re.MULTILINE)
    if listed is None:
        raise UnavailableError(f"{base}/SHA256SUMS lists no {name}.tar.gz")
    archive, target = directory / "etcd.tar.gz", directory / ETCD
    say(f"downloading {base}/{name}.tar.gz")
    _fetch_verified(f"{base}/{name}.tar.gz", archive, "sha256", listed[1])
    with tarfile.open(archive) as packed:
        member = packed.extractfile(f"{name}/{ETCD}")
        if member is None:
            raise UnavailableError(f"{base}/{name}.tar.gz holds no file {name}/{ETCD}")
        with target.open("wb") as out:
            while chunk := member.read(CHUNK):
                out.write(chunk)
    archive.unlink()
    target.chmod(0o755)
    return target


def _given(site: str) -> str:
    if not site:
        raise UnavailableError("downloads are switched off (the base URL is empty)")
    return site.rstrip("/")


def _published_checksum(url: str) -> tuple[str, str]:
    problem = ""
    for algorithm, digits in (("sha512", 128), ("sha256", 64)):
        try:
            text = _small(f"{url}.{algorithm}")
        except _MissingError as error:
            problem = str(error)
            continue
        # Either the digest alone, or a line of sha512sum(1).
        digest = text.split(maxsplit=1)[0].lower() if text.strip() else ""
        if re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest):
            return algorithm, digest
        problem = f"{url}.{algorithm} is no {algorithm} checksum"
    raise UnavailableError(problem)


class _MissingError(UnavailableError):
    """The server is there, the file is not."""


def _small(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT) as answer:
            content: bytes = answer.read(CHUNK)
    except urllib.error.HTTPError as error:
        with error:
            raise _MissingError(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError(f"{url}: {error}") from error
    return content.decode(errors="replace")


def _fetch_verified(url: str, target: Path, algorithm: str, wanted: str) -> None:
    digest = hashlib.new(algorithm)
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=STALL_TIMEOUT) as answer, target.open("wb") as out:
            promised = answer.headers.get("Content-Length")
            while chunk := answer.read(CHUNK):
                digest.update(chunk)
                received += len(chunk)
                out.write(chunk)
    except urllib.error.HTTPError as error:
        with error:
            raise UnavailableError(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        target.unlink(missing_ok=True)
        raise UnavailableError(f"{url}: {error}") from error
    if promised is not None and received < int(promised):
        target.unlink()
        raise UnavailableError(f"{url}: the connection ended after {received} of {promised} bytes")
    if digest.hexdigest() != wanted:
        target.unlink()
        raise ChecksumError(
            f"{url}: {algorithm} is {digest.hexdigest()}, published is {wanted}. The file was thrown away. "
            "Set MDEV_RELEASE_URL (etcd: MDEV_ETCD_RELEASE_URL) to a mirror you trust, or to nothing to build with Go."
        )


def sites_from(environment: Mapping[str, str]) -> Sites:
    """Read MDEV_RELEASE_URL and MDEV_ETCD_RELEASE_URL."""
    return Sites(
        kubernetes=environment.get("MDEV_RELEASE_URL", KUBERNETES_SITE),
        etcd=environment.get("MDEV_ETCD_RELEASE_URL", ETCD_SITE),
    )
