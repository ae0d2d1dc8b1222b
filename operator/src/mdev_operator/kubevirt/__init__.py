"""Moves VMs of KubeVirt: all of it is off where the cluster has no KubeVirt."""
