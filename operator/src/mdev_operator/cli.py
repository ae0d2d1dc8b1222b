"""The command ``mdev-operator``."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import structlog
import typer

from mdev_api.kube.credentials import CredentialsError
from mdev_operator.context import NODE_GONE_AFTER, UNREFERENCED_AFTER
from mdev_operator.kubevirt.decide import Patience
from mdev_operator.run import OperatorSettings
from mdev_operator.run import run as run_operator
from mdev_operator.webhook.rotation import RotationSettings
from mdev_operator.webhook.run import CONFIGURATIONS, WebhookSettings
from mdev_operator.webhook.run import run as run_webhook

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Finds destinations for migrating VMs with VFIO devices and has them prepared.",
)


@app.command()
def run(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="kubeconfig file; default: $KUBECONFIG, the pod's service account, ~/.kube/config"),
    ] = None,
    namespace: Annotated[str, typer.Option(help="namespace of the operator's Lease")] = "mdev-operator",
    agent_namespace: Annotated[str, typer.Option(help="namespace of the node agents' Leases")] = "mdev-node-agent",
    lease_duration: Annotated[float, typer.Option(help="seconds after which a silent leader is replaced")] = 15.0,
    renew_deadline: Annotated[float, typer.Option(help="seconds after which a leader that cannot renew stops")] = 10.0,
    retry_period: Annotated[float, typer.Option(help="seconds between two renewals of the Lease")] = 2.0,
    liveness: Annotated[str | None, typer.Option(help="serve liveness here, e.g. http://0.0.0.0:8080/healthz")] = None,
    gate_deadline: Annotated[
        float, typer.Option(help="seconds that a KubeVirt target pod may wait for a device", min=1, max=240)
    ] = 90.0,
    keep_finished: Annotated[
        float, typer.Option(help="seconds that the DeviceMigration of a finished KubeVirt migration is kept", min=0)
    ] = 3600.0,
    node_gone_after: Annotated[
        float, typer.Option(help="seconds that a Node may be missing before what needs it ends as NodeGone", min=1)
    ] = NODE_GONE_AFTER,
    keep_profiles: Annotated[
        float, typer.Option(help="seconds that a DeviceProfile is kept which nothing refers to", min=1)
    ] = UNREFERENCED_AFTER,
    log_format: Annotated[str, typer.Option(help="console or json")] = "console",
) -> None:
    """Match, reserve and follow migrations until stopped. Several may run: one leads, the others stand by."""
    _log_to(log_format)
    settings = OperatorSettings(
        kubeconfig=kubeconfig,
        namespace=namespace,
        agent_namespace=agent_namespace,
        lease_duration=lease_duration,
        renew_deadline=renew_deadline,
        retry_period=retry_period,
        liveness=liveness,
        kubevirt=Patience(deadline=gate_deadline, keep=keep_finished),
        node_gone_after=node_gone_after,
        keep_profiles=keep_profiles,
    )
    try:
        code = asyncio.run(run_operator(settings))
    except (CredentialsError, ValueError) as error:
        typer.echo(f"mdev-operator: {error}", err=True)
        code = 3
    raise typer.Exit(code)


@app.command()
def webhook(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="kubeconfig file; default: $KUBECONFIG, the pod's service account, ~/.kube/config"),
    ] = None,
    namespace: Annotated[str, typer.Option(help="namespace of the Service and of the Secret")] = "mdev-operator",
    agent_namespace: Annotated[str, typer.Option(help="namespace of the node agents' Leases")] = "mdev-node-agent",
    service: Annotated[str, typer.Option(help="Service by which the API server calls")] = "mdev-operator-webhook",
    certificates: Annotated[
        Path | None,
        typer.Option(help="directory with tls.crt and tls.key that somebody else renews (cert-manager); default: own"),
    ] = None,
    also_called: Annotated[
        list[str] | None, typer.Option(help="further DNS name or IP address for the own certificates; repeatable")
    ] = None,
    migrations: Annotated[
        bool, typer.Option("--migrations", help="also judge VirtualMachineInstanceMigrations")
    ] = False,
    host: Annotated[str, typer.Option(help="address to listen on")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="port to listen on")] = 9443,
    log_format: Annotated[str, typer.Option(help="console or json")] = "console",
) -> None:
    """Answer the API server's admission questions until stopped. Run several: each answers, none leads."""
    _log_to(log_format)
    own = RotationSettings(
        namespace=namespace,
        secret=service,
        configurations=CONFIGURATIONS,
        hosts=(f"{service}.{namespace}.svc", *(also_called or ())),
    )
    settings = WebhookSettings(
        kubeconfig=kubeconfig,
        host=host,
        port=port,
        mounted=certificates,
        rotation=own if certificates is None else None,
        migrations=migrations,
        agent_namespace=agent_namespace,
    )
    try:
        code = asyncio.run(run_webhook(settings))
    except (CredentialsError, OSError) as error:
        typer.echo(f"mdev-operator: {error}", err=True)
        code = 3
    raise typer.Exit(code)


def _log_to(log_format: str) -> None:
    if log_format not in ("console", "json"):
        raise typer.BadParameter(f"{log_format!r} is neither console nor json", param_hint="--log-format")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # So it is meant: kopf's thread is not the main one.
    logging.getLogger("kopf._core.reactor.running").addFilter(lambda r: "OS signals are ignored" not in r.getMessage())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )


def main() -> None:
    """Entry point."""
    app()
