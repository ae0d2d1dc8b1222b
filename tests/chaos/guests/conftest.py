"""The guests of the kernel suite, for a run of chaos in them (``make chaos``)."""

from tests.kernel.conftest import boot_guest, kernel

__all__ = ["boot_guest", "kernel"]
