"""Kernel uevents from the netlink socket.

A pod without hostNetwork, capabilities or privileges receives all of them; in a user namespace of its own it receives
none, silently. That is why the agent also rescans (design section 5). Attribute writes send no event at all.

The kernel multicasts to group 1 with sender pid 0; a message from any other sender is some program's, and dropped.
When more events come than the socket's buffer holds (about 200) the kernel drops them and says so once (ENOBUFS):
that becomes :class:`EventsLost`, after which only a full rescan tells the truth.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

from mdev_node_agent.sysfs.port import EventsLost, Uevent

_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1
_KERNEL_PID = 0
_LARGEST = 16384


def subscribe() -> socket.socket:
    """A non-blocking socket that receives from now on. OSError if the kernel refuses it."""
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _KOBJECT_UEVENT)
    try:
        listener.bind((0, _KERNEL_GROUP))
    except OSError:
        listener.close()
        raise
    return listener


async def received(listener: socket.socket) -> AsyncIterator[Uevent | EventsLost]:
    """Events as they come, for ever; the socket is closed when the iteration ends."""
    loop = asyncio.get_running_loop()
    with listener:
        while True:
            try:
                datagram, sender = await loop.sock_recvfrom(listener, _LARGEST)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield EventsLost()
                continue
            event = parse(datagram) if sender[0] == _KERNEL_PID else None
            if event is not None:
                yield event


def parse(datagram: bytes) -> Uevent | None:
    """One kernel message: ``add@/devices/...``, then ``KEY=value``, each ended by NUL. None: not that form."""
    header, *lines = datagram.rstrip(b"\0").decode(errors="backslashreplace").split("\0")
    action, at, devpath = header.partition("@")
    if not at or not devpath.startswith("/"):
        return None
    properties = dict(line.split("=", 1) for line in lines if "=" in line)
    return Uevent(action=action, devpath=devpath, subsystem=properties.get("SUBSYSTEM", ""), properties=properties)
