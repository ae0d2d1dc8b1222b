"""What the agent does all the time for and with the kubelet, as coroutines that run until they are cancelled."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog

from mdev_node_agent.acting.hands import Hands
from mdev_node_agent.acting.preparer import Preparer
from mdev_node_agent.kubelet.desk import Desk
from mdev_node_agent.kubelet.hook import NodeHook, serve_hook
from mdev_node_agent.kubelet.plugin import serve_plugin
from mdev_node_agent.kubelet.pod_resources import Kubelet
from mdev_node_agent.kubelet.poll import poll
from mdev_node_agent.kubelet.resources import resources_of
from mdev_node_agent.kubelet.slots import Slots
from mdev_node_agent.seeing.sight import Eye, Sight
from mdev_node_agent.settings import RunSettings

log = structlog.get_logger(__name__)


def kubelet_work(
    kubelet: Kubelet, settings: RunSettings, eye: Eye, preparer: Preparer, hands: Hands, known: Callable[[], bool]
) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """Each with its name. ``known``: has the API server said which reservations stand?"""
    desk = _desk(settings, eye, preparer, hands) if settings.serve else None
    yield "kubelet", poll(kubelet, eye, lambda: preparer.waits_for_pick or (desk is not None and desk.waits))
    if settings.hook_socket is not None:
        yield "hook", serve_hook(settings.hook_socket, NodeHook(eye, preparer, known))
    if desk is not None and settings.kubelet_dir is not None:
        yield "slots", desk.run()
        yield "room", desk.keep_current()
        for resource in resources_of(settings.serve):
            yield f"plugin {resource}", serve_plugin(settings.kubelet_dir, resource, desk, known)


def _desk(settings: RunSettings, eye: Eye, preparer: Preparer, hands: Hands) -> Desk:
    """The desk of our own device plugin, which sees what the eye sees."""
    slots = Slots(settings.state_dir, hands.boot_id)
    if slots.damage is not None:
        log.warning("memory is damaged", node=settings.node, reason=slots.damage)
    desk = Desk(eye=eye, preparer=preparer, hands=hands, slots=slots, resources=resources_of(settings.serve))
    before = eye.on_look

    def looked(sight: Sight) -> None:
        before(sight)
        desk.looked(sight)

    eye.on_look = looked
    eye.own_resources = desk.own
    preparer.on_answer = desk.answered
    return desk
