"""A Docker daemon for kind: the one that is there, else one of our own that ends with the tests.

Our own has its socket, state and process below the checkout's ``.run`` and its images in the cache. A daemon changes
the machine's network (forwarding, chains, a bridge) and leaves that behind when it ends; what was there before ours
started is written down first and put back.

Where root lacks CAP_SYS_RESOURCE, as in many sandboxes, no privileged container can start; then containers get
everything but that capability, by a small program between the daemon and runc.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.command import StepError, run, say, step, succeeds
from tests.e2e.places import RUN, cache

DIRECTORY = RUN / "docker"
PID, FIREWALL, FORWARDING = DIRECTORY / "pid", DIRECTORY / "firewall", DIRECTORY / "ip_forward"
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
RUNTIME = Path(__file__).with_name("runc_without_resource")
CAP_SYS_RESOURCE = 24
CHAINS = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
"""The chains that the kernel itself has in each table."""
STOP_TIMEOUT = 30.0

MISSING = (
    "There is no Docker daemon to talk to, and none can be started here: {why}. Install Docker (Debian: apt-get "
    "install docker.io iptables) and run this as a user who may use it, or as root where no daemon runs."
)


def environment() -> dict[str, str]:
    """For every program that talks to Docker; a daemon is started if there is none. StepError says what is missing."""
    if _ours_runs():
        return _with_ours()
    if shutil.which("docker") and succeeds("docker", "version"):
        return dict(os.environ)
    for reason, holds in (
        ("there is no program docker", not shutil.which("docker")),
        ("there is no program dockerd", not shutil.which("dockerd")),
        ("there is no program iptables-save", not shutil.which("iptables-save")),
        ("only root can", os.geteuid() != 0),
    ):
        if holds:
            raise StepError(MISSING.format(why=reason))
    with step("starting a Docker daemon of our own", "2 s"):
        _start()
    return _with_ours()


def stop() -> None:
    """End our own daemon, if it runs, and put the machine's network back as it was."""
    if _ours_runs():
        pid = int(PID.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while _alive(pid):
            if time.monotonic() > deadline:
                raise StepError(f"the Docker daemon (process {pid}) did not end within {STOP_TIMEOUT:.0f} s")
            time.sleep(0.1)
        say("e2e: our Docker daemon has ended")
    if PID.exists():
        _restore_network()
        shutil.rmtree(DIRECTORY)


def reachable() -> bool:
    """Is there a daemon to talk to, ours or another?"""
    return _ours_runs() or (bool(shutil.which("docker")) and succeeds("docker", "version"))


def lacks_resource_capability(status: Path = Path("/proc/self/status")) -> bool:
    """Is root kept from CAP_SYS_RESOURCE here?"""
    found = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    return os.geteuid() == 0 and not int(found["CapBnd"], 16) >> CAP_SYS_RESOURCE & 1


def _start() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    FIREWALL.write_text(run("iptables-save"))
    FORWARDING.write_text(IP_FORWARD.read_text())
    command = [
        "dockerd",
        f"--host={_socket()}",
        f"--data-root={cache() / 'docker'}",
        f"--exec-root={DIRECTORY / 'exec'}",
        f"--pidfile={DIRECTORY / 'dockerd.pid'}",
    ]
    if lacks_resource_capability():
        command += [f"--add-runtime=without-resource={RUNTIME}", "--default-runtime=without-resource"]
    with (DIRECTORY / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    PID.write_text(str(process.pid))
    deadline = time.monotonic() + 60
    while not succeeds("docker", "version", environment=_with_ours()):
        if process.poll() is not None or time.monotonic() > deadline:
            said = "\n".join((DIRECTORY / "log").read_text(errors="replace").splitlines()[-15:])
            process.kill()
            raise StepError(f"dockerd does not start:\n{said}")
        time.sleep(0.2)


def _restore_network() -> None:
    run("iptables-restore", stdin=_as_before(FIREWALL.read_text(), run("iptables-save")))
    for bridge in sorted(Path("/sys/class/net").glob("*")):
        if bridge.name == "docker0" or (bridge.name.startswith("br-") and len(bridge.name) == 15):
            run("ip", "link", "delete", bridge.name)
    IP_FORWARD.write_text(FORWARDING.read_text())


def _as_before(before: str, now: str) -> str:
    """What restores the rules of before: a table that was not there then is emptied, for it would be left as it is."""
    text = before
    for table in re.findall(r"^\*(\w+)$", now, re.MULTILINE):
        if f"*{table}\n" not in before:
            text += f"*{table}\n" + "".join(f":{chain} ACCEPT\n" for chain in CHAINS[table]) + "COMMIT\n"
    return text


def _socket() -> str:
    return f"unix://{DIRECTORY / 'socket'}"


def _with_ours() -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": _socket()}


def _ours_runs() -> bool:
    return PID.exists() and _alive(int(PID.read_text()))


def _alive(pid: int) -> bool:
    """A zombie, whose parent may be this very process, has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    status = Path(f"/proc/{pid}/cmdline")
    return status.exists() and b"dockerd" in status.read_bytes()
