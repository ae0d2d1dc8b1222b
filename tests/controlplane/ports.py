"""Loopback ports that stay ours between choosing and binding.

The kernel gives outgoing connections their source ports from its ephemeral range (32768 and up), so a listening port
chosen there can be taken, while its server restarts, by the very client that reconnects to it. These come from below.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

FIRST, LAST = 20000, 32000
TRIES = 1000


def free_ports(count: int) -> tuple[int, ...]:
    """Return ``count`` different TCP ports that nothing on 127.0.0.1 listened on a moment ago.

    Another program may still bind one first: whoever starts a server on it must be ready to choose again.
    Raises RuntimeError when a thousand random tries did not find enough.
    """
    with ExitStack() as held:
        found: list[int] = []
        for _ in range(TRIES):
            if len(found) == count:
                return tuple(found)
            port = random.randint(FIRST, LAST)
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    raise RuntimeError(f"found {len(found)} of {count} free ports between {FIRST} and {LAST} on 127.0.0.1")
