"""The command line of the node agent.

Exit status: 0 fine; 3 wrong usage or nothing to work on, with a message on stderr; no input makes a traceback.
Each command imports what it needs when it runs: on slow machines (emulated guests) imports are most of the start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mdev_node_agent.discover_command import Format, discover
from mdev_node_agent.settings import CannotRunError, RunSettings
from mdev_node_agent.sysfs.root import UnusableRootError, usable_port

EXIT_UNUSABLE = 3
_EXIT_INTERRUPTED = 130
_DEFAULTS = RunSettings(node="")


class CannotPrintError(Exception):
    """stdout does not take the answer."""


class InUseChoice(StrEnum):
    """Values of ``--in-use``."""

    PROCESS = "process"
    NONE = "none"


class LogFormat(StrEnum):
    """Values of ``--log-format``."""

    JSON = "json"
    CONSOLE = "console"


app = typer.Typer(
    help="Publishes a node's mediated devices and prepares those that are reserved.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Sysfs = Annotated[Path, typer.Option(metavar="ROOT", help="Where the host's sysfs is mounted.")]


FactsDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Files *.json with what sysfs does not tell of this node's devices, such as /etc/mdev-operator/facts.d. "
        "Default: none.",
    ),
]


@app.command("discover")
def discover_command(
    sysfs: Sysfs = _DEFAULTS.sysfs,
    facts_dir: FactsDir = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print it.")] = Format.TABLE,
) -> None:
    """Print what this node offers: parents, types with model and parameters, instances with values.

    Needs no cluster. What could not be read is printed with the reason; what a driver publishes and is ignored goes to
    stderr as warnings, and stands beside its type in JSON and YAML.
    """
    width = os.get_terminal_size(1).columns if sys.stdout is not None and sys.stdout.isatty() else None
    discovered = discover(sysfs, output, facts_dir=facts_dir, width=width)
    for warning in discovered.warnings:
        _tell(f"warning: {warning}")
    _print(discovered.text)


KubeletDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="The kubelet's directory, such as /var/lib/kubelet. Default: the kubelet is not asked."
    ),
]
OwnPod = Annotated[
    str | None,
    typer.Option(
        metavar="NAMESPACE/NAME",
        help="The pod in which this agent runs: a kubelet that does not list it has only just started, and is not "
        "believed yet. Default: every answer of the kubelet counts.",
    ),
]
HookSocket = Annotated[
    Path | None,
    typer.Option(
        metavar="SOCKET",
        help="Serve KubeVirt's node hook PreMigrationTarget here, below a directory that virt-handler mounts, "
        "such as /var/run/kubevirt. Needs --kubelet-dir. Default: no hook.",
    ),
]
Serve = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RESOURCE=TYPE",
        help="Serve devices of this type to pods that ask for the extended resource, such as "
        "vendor.com/gpu-4gb=nvidia-222; TYPE is an id, or what its name file says. Can be given several times. "
        "Needs --kubelet-dir, and externalResourceProvider: true in the KubeVirt CR. Default: no device plugin.",
    ),
]


@app.command("run")
def run_command(
    node_name: Annotated[str, typer.Option(metavar="N", help="Name of the Node that this agent speaks for.")],
    sysfs: Sysfs = _DEFAULTS.sysfs,
    kubeconfig: Annotated[
        Path | None, typer.Option(metavar="F", help="Default: what the environment gives (in a pod, its token).")
    ] = None,
    state_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Journal and ledger; it must survive the process.")
    ] = _DEFAULTS.state_dir,
    namespace: Annotated[str, typer.Option(help="Namespace of the agents' Leases.")] = _DEFAULTS.namespace,
    rescan_seconds: Annotated[
        float, typer.Option(min=1.0, help="Seconds between two rescans of sysfs, jittered by a tenth.")
    ] = _DEFAULTS.rescan_seconds,
    in_use: Annotated[
        InUseChoice,
        typer.Option(help="Who tells whether a device is open: the processes of this machine, or nobody (Unknown)."),
    ] = InUseChoice.PROCESS,
    kubelet_dir: KubeletDir = None,
    own_pod: OwnPod = None,
    hook_socket: HookSocket = None,
    serve: Serve = None,
    facts_dir: FactsDir = None,
    log_format: Annotated[
        LogFormat, typer.Option(help="One JSON object per line, or text for people.")
    ] = LogFormat.JSON,
) -> None:
    """Publish this node's devices and carry out its reservations until told to stop."""
    usable_port(sysfs)
    from mdev_node_agent.run import run_until_signalled

    run_until_signalled(
        RunSettings(
            node=node_name,
            sysfs=sysfs,
            kubeconfig=kubeconfig,
            state_dir=state_dir,
            namespace=namespace,
            rescan_seconds=rescan_seconds,
            in_use=in_use,
            log_format=log_format,
            kubelet_dir=kubelet_dir,
            own_pod=own_pod,
            hook_socket=hook_socket,
            serve=tuple(serve or ()),
            facts_dir=facts_dir,
        )
    )


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its status."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: Sequence[str]) -> int:
    try:
        return int(app(list(arguments), prog_name="mdev-node-agent", standalone_mode=False) or 0)
    except typer.TyperException as error:
        _tell(f"error: {error.format_message()}")
        _tell("mdev-node-agent -h, and -h behind a command, say how it is used")
    except (UnusableRootError, CannotPrintError, CannotRunError) as error:
        _tell(f"error: {error}")
    except (typer.Abort, KeyboardInterrupt):
        return _EXIT_INTERRUPTED
    return EXIT_UNUSABLE


def _print(text: str) -> None:
    """The whole text to stdout. A reader that has gone away is no error of ours; anything else is."""
    try:
        sys.stdout.write(text.encode(errors="backslashreplace").decode())
        sys.stdout.flush()
    except OSError as error:
        # Python flushes stdout once more when it ends: let that go nowhere instead of ending in a traceback.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            raise CannotPrintError(f"cannot write the answer: {error.strerror}") from None


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
