"""What the agent does all the time for and with the kubelet, as coroutines that run until they are cancelled."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from mdev_node_agent.kubelet.hook import NodeHook, serve_hook
from mdev_node_agent.kubelet.pod_resources import Kubelet
from mdev_node_agent.kubelet.poll import poll
from mdev_node_agent.preparer import Preparer
from mdev_node_agent.settings import RunSettings
from mdev_node_agent.sight import Eye


def kubelet_work(
    kubelet: Kubelet, settings: RunSettings, eye: Eye, preparer: Preparer, known: Callable[[], bool]
) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """Each with its name. ``known``: has the API server said which reservations stand?"""
    yield "kubelet", poll(kubelet, eye, lambda: preparer.waits_for_pick)
    if settings.hook_socket is not None:
        yield "hook", serve_hook(settings.hook_socket, NodeHook(eye, preparer, known))
