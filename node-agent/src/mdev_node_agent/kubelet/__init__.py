"""The agent's kubelet-facing half: whom the kubelet gave our devices, KubeVirt's node hook, and our device plugin.

Off unless ``--kubelet-dir`` is given; gRPC is imported only then.
"""
