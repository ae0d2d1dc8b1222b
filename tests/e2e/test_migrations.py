"""A VM's migration in a real cluster: the API server's own gate, the operator and the agents as deployed with their
rights, and on two real kubelets the device plugins, the pods, and what the kubelets say about them.

Played are the kernel's devices, a vendor's device plugin, and KubeVirt (docs/e2e.md).
"""

from __future__ import annotations

import uuid

from mdev_api.kube.client import Client
from tests.e2e import sysfs_tree
from tests.e2e.cluster import NODES, Cluster
from tests.e2e.deployment import OWN_RESOURCE, RESOURCE
from tests.e2e.vms import PATIENCE, environment_of, give, slot, virtual_machines

SOURCE, TARGET = NODES


async def test_a_vm_moves_into_a_slot_that_was_held_for_it_and_the_picked_device_is_written(
    admin: Client, cluster: Cluster
) -> None:
    has, free = str(uuid.uuid4()), {str(uuid.uuid4()) for _ in range(2)}
    await give(admin, cluster, SOURCE, {has: 8192})
    await give(admin, cluster, TARGET, dict.fromkeys(free, 4096))
    async with virtual_machines(admin, cluster) as vms:
        await vms.player.start_vm("vm", SOURCE, RESOURCE)
        vmim = await vms.player.submit("move", "vm")
        await vms.phase("move", "Succeeded", "Failed", timeout=PATIENCE)
        done = await vms.finished(vmim, "Succeeded")
        (pod,) = await vms.target_pods()
        picked = environment_of(cluster, pod)["MDEV_PCI_RESOURCE_GPU_EXAMPLE_COM_GFX"]
        (other,) = free - {picked}
        written = {device: sysfs_tree.memory_of(cluster.tree(TARGET), device) for device in (picked, other)}

        assert (await vms.where("vm"), pod["spec"]["nodeName"]) == (TARGET, TARGET)
        assert written == {picked: 8192, other: 4096}
        assert done["status"]["devices"][0]["instance"] == picked
        assert (await slot(admin, TARGET, RESOURCE))["instances"] == [other]


async def test_a_vm_moves_to_the_device_that_was_made_for_it_and_that_our_plugin_hands_out(
    admin: Client, cluster: Cluster
) -> None:
    for node in NODES:
        await give(admin, cluster, node, available=2)
    async with virtual_machines(admin, cluster) as vms:
        started = await vms.player.start_vm("vm", SOURCE, OWN_RESOURCE)
        vmim = await vms.player.submit("move", "vm")
        await vms.phase("move", "Succeeded", "Failed", timeout=PATIENCE)
        done = await vms.finished(vmim, "Succeeded")
        (pod,) = await vms.target_pods()
        handed_out = environment_of(cluster, pod)["MDEV_PCI_RESOURCE_GPU_EXAMPLE_COM_OWN"]

        assert started["status"]["nodeName"] == SOURCE
        assert (await vms.where("vm"), pod["spec"]["nodeName"]) == (TARGET, TARGET)
        assert (done["spec"]["binding"], done["status"]["devices"][0]["instance"]) == ("Early", handed_out)
        assert sysfs_tree.memory_of(cluster.tree(TARGET), handed_out) == 4096
