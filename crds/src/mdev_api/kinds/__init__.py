"""The API objects (group ``mdev-operator.io``, version v1alpha1), one module for each kind.

The pydantic models are the only definition: :mod:`mdev_api.manifests` generates the CustomResourceDefinitions from
them, with bounds, list types and CEL rules. Members that are not there are None (or empty), never null on the wire.
"""
