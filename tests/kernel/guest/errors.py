"""What can go wrong with a guest. A file operation that the guest's kernel refuses is an ``OSError`` with its errno instead."""

from __future__ import annotations


class GuestError(RuntimeError):
    """The guest cannot be used: it did not boot, died, was powered off, or does not answer. Says why, with the console's end."""


class CommandError(RuntimeError):
    """A command ended with another exit status than 0."""


class CommandTimeoutError(TimeoutError):
    """A command or file operation took longer than allowed. It was sent SIGKILL, which does not end a blocked system call."""
