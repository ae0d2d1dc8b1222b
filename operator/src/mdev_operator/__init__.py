"""Finds destinations for migrating VMs with VFIO devices and has them prepared."""
