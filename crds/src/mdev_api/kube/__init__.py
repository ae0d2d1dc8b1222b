"""A small Kubernetes toolkit on aiohttp: what agent, operator, CLI and tests need of the API server, and no more.

Objects travel as plain dicts. A request is a value (:mod:`~mdev_api.kube.requests`), sent once by a thin client
(:mod:`~mdev_api.kube.client`); who retries, and how, is decided where the meaning of the request is known.
"""
