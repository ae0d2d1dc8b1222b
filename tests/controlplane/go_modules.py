"""Building the programs from their Go modules: for machines that reach a Go module proxy and no release site.

``k8s.io/kubernetes`` cannot simply be required: its own go.mod replaces each ``k8s.io/X`` by a directory of its source
tree, and replacements of a dependency do not count. So a module is written that requires it and replaces each of those
by the version that was released with it. A file that imports every program makes ``go mod tidy`` complete its go.sum.

Not with Go 1.27: it compiles, but its JSON package makes the API server answer 503 for /openapi/v2.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.controlplane.programs import ETCD, ETCD_VERSION, KUBERNETES_VERSION, UnavailableError
from tests.controlplane.releases import Say

GO_SERIES = "1.26"
GO_TOOLCHAIN = "go1.26.0"
ETCD_MODULE = "go.etcd.io/etcd/server/v3"
KUBERNETES_MODULE = "k8s.io/kubernetes"
USUALLY = {
    "kube-apiserver": "about 3 minutes",
    "kube-controller-manager": "about 1 minute",
    "kube-scheduler": "about 20 seconds",
    "kubectl": "about 10 seconds",
    ETCD: "about 10 seconds",
}
"""With cold caches, in this order, on two cores."""
HEARTBEAT = 30.0


def go_mod(upstream: str) -> str:
    """Return the go.mod for a build, given the text of the go.mod of ``k8s.io/kubernetes`` in the same version.

    Raises ValueError if that text replaces nothing by ``./staging/src``: it would not be the file it should be.
    """
    staged = sorted(
        set(re.findall(r"^\s*(?:replace\s+)?(k8s\.io/\S+) => \./staging/src/\1\s*$", upstream, re.MULTILINE))
    )
    if not staged:
        raise ValueError("the go.mod of k8s.io/kubernetes replaces no module by ./staging/src/...")
    go = re.search(r"^go (\S+)$", upstream, re.MULTILINE)
    library = "v0." + KUBERNETES_VERSION.split(".", 1)[1]
    replacements = "".join(f"\t{module} => {module} {library}\n" for module in staged)
    return (
        "module controlplane.test\n\n"
        f"go {go[1] if go else GO_SERIES}\n\n"
        f"require (\n\t{ETCD_MODULE} v{ETCD_VERSION}\n\t{KUBERNETES_MODULE} v{KUBERNETES_VERSION}\n)\n\n"
        f"replace (\n{replacements})\n"
    )


def tools_go(programs: Sequence[str]) -> str:
    """Return the Go file that imports every program, for ``go mod tidy``."""
    imports = "".join(f'\t_ "{_package(program)}"\n' for program in programs)
    return f"//go:build tools\n\npackage tools\n\nimport (\n{imports})\n"


def build(
    programs: Sequence[str],
    directory: Path,
    *,
    environment: Mapping[str, str],
    say: Say,
    done: Callable[[Path], object],
) -> None:
    """Build the programs in ``directory``, which also takes the module; tell ``done`` each as soon as it is whole.

    Raises UnavailableError if there is no Go, or if a step of it fails, with the end of what Go said.
    """
    go = _Go(shutil.which("go", path=environment.get("PATH", "")), directory, environment, say)
    say(f"fetching the Go modules of Kubernetes {KUBERNETES_VERSION} (about 1 minute) ...")
    module = json.loads(go.run("mod", "download", "-json", f"{KUBERNETES_MODULE}@v{KUBERNETES_VERSION}"))
    (directory / "go.mod").write_text(go_mod(Path(module["GoMod"]).read_text()))
    (directory / "tools.go").write_text(tools_go(programs))
    go.run("mod", "tidy")
    for program in sorted(programs, key=list(USUALLY).index):
        say(f"building {program} ({USUALLY[program]}) ...")
        began = time.monotonic()
        go.run("build", "-trimpath", f"-ldflags={_link_flags(program)}", f"-o={directory / program}", _package(program))
        say(f"built {program} in {time.monotonic() - began:.0f} s")
        done(directory / program)


class _Go:
    def __init__(self, go: str | None, directory: Path, environment: Mapping[str, str], say: Say) -> None:
        if go is None:
            raise UnavailableError("there is no Go on PATH to build them with")
        self._go, self._directory, self._say = go, directory, say
        self._environment = {
            **environment,
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=mod -buildvcs=false",
            "GOWORK": "off",
        }
        version = self.run("env", "GOVERSION").strip()
        suits = version == f"go{GO_SERIES}" or version.startswith(f"go{GO_SERIES}.")
        self._environment["GOTOOLCHAIN"] = "local" if suits else GO_TOOLCHAIN
        if not suits:
            say(f"{go} is {version}; asking it for {GO_TOOLCHAIN}, which Kubernetes {KUBERNETES_VERSION} is built with")

    def run(self, *arguments: str) -> str:
        log = self._directory / "go.log"
        command = [self._go, *arguments]
        with (
            log.open("w+") as errors,
            subprocess.Popen(
                command, cwd=self._directory, env=self._environment, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            try:
                output = self._collect(process, arguments)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            said = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-15:])
            raise UnavailableError(f"go {' '.join(arguments)}: exit {process.returncode}:\n{said}")
        return output

    def _collect(self, process: subprocess.Popen[str], arguments: Sequence[str]) -> str:
        began = time.monotonic()
        while True:
            try:
                return process.communicate(timeout=HEARTBEAT)[0]
            except subprocess.TimeoutExpired:
                self._say(f"  ... go {arguments[0]} has run for {time.monotonic() - began:.0f} s")


def _package(program: str) -> str:
    return ETCD_MODULE if program == ETCD else f"{KUBERNETES_MODULE}/cmd/{program}"


def _link_flags(program: str) -> str:
    """Without the version in it the API server says v0.0.0-master, and kubectl complains."""
    flags = ["-s", "-w"]
    if program != ETCD:
        major, minor, _ = KUBERNETES_VERSION.split(".")
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.gitVersion=v{KUBERNETES_VERSION}"]
            flags += [f"-X {package}.gitMajor={major}", f"-X {package}.gitMinor={minor}"]
    return " ".join(flags)
