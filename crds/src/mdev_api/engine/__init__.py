"""The compatibility engine: can this source move there, what must be written, and which place is best?

Pure functions over the values of :mod:`mdev_api.engine.metadata`. No I/O, no Kubernetes, no pydantic: the operator,
the offline check and the tests ask the same functions.
"""
