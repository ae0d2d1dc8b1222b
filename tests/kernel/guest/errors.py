"""What can go wrong with a guest. What the guest's kernel refuses is an ``OSError`` with its errno instead."""

from __future__ import annotations


class GuestError(RuntimeError):
    """The guest cannot be used: it did not boot, died, is off, or does not answer. Has the end of its console."""


class CommandError(RuntimeError):
    """A command ended with another exit status than 0."""


class CommandTimeoutError(TimeoutError):
    """A command or file operation took too long. It was sent SIGKILL, which does not end a blocked system call."""
