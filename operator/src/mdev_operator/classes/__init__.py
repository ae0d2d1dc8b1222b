"""Compatibility classes and the node labels that carry them, so that any scheduler can choose a node that fits."""
