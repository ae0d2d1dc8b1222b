"""A real Kubernetes control plane on loopback ports, for tests: etcd, API server, controllers, scheduler.

It starts in seconds, needs neither Docker nor root, keeps everything in one directory, and dies with the process that
started it, even if that one is killed. There is no kubelet: a Node is whatever object a test creates, and stays as
ready as its last written status says, because the controller that would mark it down is off.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.controlplane import commands
from tests.controlplane.binaries import ensure
from tests.controlplane.certificates import Authority, Pair, make_authority, signing_keys, write_private
from tests.controlplane.commands import Files, Ports
from tests.controlplane.kubeconfig import kubeconfig_text
from tests.controlplane.kubectl import run_kubectl
from tests.controlplane.ports import free_ports
from tests.controlplane.processes import Process, spawn, stop
from tests.controlplane.readiness import PortTakenError, wait_ready

GUEST_VIEW_OF_HOST = "10.0.2.2"
"""Where a qemu guest with a user network finds the host's loopback interface."""

START_TIMEOUT = 90.0
PORT_ATTEMPTS = 4


@dataclass(kw_only=True)
class ControlPlane:
    """One running control plane; made by ``start``, ended by ``stop`` or at the end of a ``with`` block."""

    directory: Path
    kubeconfig: Path
    """Of the cluster administrator."""
    ca_file: Path
    port: int
    """Of the API server on 127.0.0.1."""
    etcd_url: str
    ready_after: float = 0.0
    """Seconds from the first process to the last answer."""
    _authority: Authority = field(repr=False)
    _kubectl: Path
    _processes: dict[str, Process]
    _apiserver: list[str] = field(repr=False)
    _etcd: list[str] = field(repr=False)
    _outlive: bool
    _numbers: itertools.count[int] = field(default_factory=itertools.count, repr=False)

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        controllers: bool = True,
        scheduler: bool = True,
        outlive: bool = False,
        programs: Mapping[str, Path] | None = None,
    ) -> ControlPlane:
        """Start one in ``directory`` (made if missing; what another one left there is removed) and wait until ready.

        ``outlive``: leave it running when this process ends. ``programs``: paths by name instead of ``ensure()``.
        Raises StartError with the end of the log of the part that failed; nothing is left running then.
        """
        programs = programs or ensure()
        files = Files(directory=directory.resolve())
        authority = _prepare(files)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            ports = Ports(**dict(zip(Ports.__dataclass_fields__, free_ports(5), strict=True)))
            shutil.rmtree(files.etcd_data, ignore_errors=True)
            argv = commands.apiserver(programs, files, ports, controllers=controllers)
            plane = cls(
                directory=files.directory,
                kubeconfig=files.directory / "kubeconfig",
                ca_file=files.pki / "ca.crt",
                port=ports.apiserver,
                etcd_url=f"http://127.0.0.1:{ports.etcd_client}",
                _authority=authority,
                _kubectl=programs["kubectl"],
                _processes={},
                _apiserver=argv,
                _etcd=commands.etcd(programs, files, ports),
                _outlive=outlive,
            )
            began = time.monotonic()
            try:
                plane._bring_up(programs, files, ports, controllers=controllers, scheduler=scheduler)
            except PortTakenError:
                plane.stop()
                if attempt == PORT_ATTEMPTS:
                    raise
            except BaseException:
                plane.stop()
                raise
            else:
                plane.ready_after = time.monotonic() - began
                return plane
        raise AssertionError("unreachable: the last attempt returns or raises")

    @property
    def server(self) -> str:
        """The URL of the API server as this machine sees it."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def processes(self) -> tuple[Process, ...]:
        """The parts, in the order in which they were started."""
        return tuple(self._processes.values())

    def kubectl(
        self, *args: str, input: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, as the administrator or with ``kubeconfig``; ``input`` goes to its standard input.

        Raises KubectlError on a non-zero exit when ``check`` is set.
        """
        cache = self.directory / "kubectl-cache"
        return run_kubectl(self._kubectl, kubeconfig or self.kubeconfig, args, cache=cache, input=input, check=check)

    def kubeconfig_for(
        self, user: str, groups: Sequence[str] = (), *, server: str | None = None, token: str | None = None
    ) -> Path:
        """Write a self-contained kubeconfig for ``user`` and return its path.

        The user is proven by a new client certificate with those groups (names of at most 64 characters, else
        ValueError), or by ``token``, then ``user`` is a label only. ``server`` is the URL to talk to instead of
        ``self.server``: that of a proxy, or ``guest_server`` for a qemu guest.
        """
        credentials: Pair | str = token if token is not None else self._authority.user(user, groups)
        text = kubeconfig_text(
            server=server or self.server, authority=self._authority.pem, user=user, credentials=credentials
        )
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", user)
        path = self.directory / "kubeconfigs" / f"{readable}.{next(self._numbers)}.kubeconfig"
        return write_private(path, text.encode())

    @property
    def guest_server(self) -> str:
        """The URL of the API server as a qemu guest with a user network sees it."""
        return f"https://{GUEST_VIEW_OF_HOST}:{self.port}"

    def restart_apiserver(self) -> None:
        """Kill the API server (every connection drops), start it again on the same port, and wait until ready."""
        stop(self._processes["kube-apiserver"])
        self._start_apiserver()

    @contextmanager
    def etcd_down(self) -> Iterator[None]:
        """Kill etcd for the block, then start it again with what it had stored, and wait until the API server answers.

        Meanwhile the API server runs, and answers as it does when its etcd is away: late, or with an error.
        """
        stop(self._processes["etcd"])
        try:
            yield
        finally:
            self._start_etcd()
            self._wait(self._processes["kube-apiserver"], f"{self.server}/readyz")

    def stop(self) -> None:
        """End every part; does nothing for one that has ended. The directory stays, for its logs."""
        for process in reversed(self.processes):
            stop(process)

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _bring_up(
        self, programs: Mapping[str, Path], files: Files, ports: Ports, *, controllers: bool, scheduler: bool
    ) -> None:
        self._start_etcd()
        self._start_apiserver()
        admin = self._authority.user("admin", ["system:masters"])
        write_private(files.pki / "admin.pem", admin.certificate + admin.key)
        self._write_kubeconfig(self.kubeconfig, "admin", admin)
        waiting: list[tuple[Process, int]] = []
        if controllers:
            path = self._write_kubeconfig(files.pki / "controllers.kubeconfig", "system:kube-controller-manager")
            argv = commands.controller_manager(programs, files, ports, path)
            waiting.append((self._spawn("kube-controller-manager", argv), ports.controllers))
        if scheduler:
            path = self._write_kubeconfig(files.pki / "scheduler.kubeconfig", "system:kube-scheduler")
            files.scheduler_config.write_text(commands.scheduler_configuration(path))
            argv = commands.scheduler(programs, files, ports)
            waiting.append((self._spawn("kube-scheduler", argv), ports.scheduler))
        for process, port in waiting:
            self._wait(process, f"https://127.0.0.1:{port}/healthz")
        if controllers:
            # Until the controllers made it, every pod in the namespace is refused.
            account = f"{self.server}/api/v1/namespaces/default/serviceaccounts/default"
            self._wait(self._processes["kube-controller-manager"], account, user=files.pki / "admin.pem")

    def _start_etcd(self) -> None:
        etcd = self._spawn("etcd", self._etcd)
        wait_ready(etcd, f"{self.etcd_url}/health", timeout=START_TIMEOUT)

    def _start_apiserver(self) -> None:
        process = self._spawn("kube-apiserver", self._apiserver)
        self._wait(process, f"{self.server}/readyz")

    def _spawn(self, name: str, argv: list[str]) -> Process:
        log = self.directory / f"{name}.log"
        self._processes[name] = spawn(name, argv, log=log, outlive=self._outlive)
        return self._processes[name]

    def _wait(self, process: Process, url: str, *, user: Path | None = None) -> None:
        wait_ready(process, url, authority=self.ca_file, user=user, timeout=START_TIMEOUT)

    def _write_kubeconfig(self, path: Path, user: str, credentials: Pair | None = None) -> Path:
        text = kubeconfig_text(
            server=self.server,
            authority=self._authority.pem,
            user=user,
            credentials=credentials or self._authority.user(user),
        )
        return write_private(path, text.encode())


def _prepare(files: Files) -> Authority:
    """Make the directories, keys and certificates anew, with no log of an earlier run to be mistaken for ours."""
    for old in (files.pki, files.kubeconfigs, files.directory / "kubectl-cache"):
        shutil.rmtree(old, ignore_errors=True)
    for new in (files.pki, files.kubeconfigs):
        new.mkdir(parents=True, mode=0o700)
    for log in files.directory.glob("*.log"):
        log.unlink()
    authority = make_authority("mdev-operator test control plane")
    (files.pki / "ca.crt").write_bytes(authority.pem)
    serving = authority.server("localhost", "127.0.0.1", GUEST_VIEW_OF_HOST)
    (files.pki / "server.crt").write_bytes(serving.certificate)
    write_private(files.pki / "server.key", serving.key)
    private, public = signing_keys()
    write_private(files.pki / "service-accounts.key", private)
    (files.pki / "service-accounts.pub").write_bytes(public)
    return authority
