"""Publishes a node's VFIO devices and prepares those that are reserved."""
