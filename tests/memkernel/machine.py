"""What every part of the in-memory kernel shares: the lock, the tree, the events, and waiting as the kernel waits."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, RLock

from mdev_node_agent.sysfs.port import Uevent
from tests.memkernel.kstrto import fault
from tests.memkernel.subscribers import Subscribers
from tests.memkernel.tree import Dir


@dataclass(kw_only=True, eq=False)
class Machine:
    """One boot of one kernel. Everything is touched with ``lock`` held; whoever waits lets go of it meanwhile."""

    subscribers: Subscribers
    lock: Condition = field(default_factory=lambda: Condition(RLock()))
    root: Dir = field(default_factory=Dir)
    running: bool = True

    def send(self, action: str, path: str, subsystem: str, **properties: str) -> None:
        """Send a uevent of the object at this path."""
        basic = {"ACTION": action, "DEVPATH": f"/{path}", "SUBSYSTEM": subsystem}
        event = Uevent(action=action, devpath=f"/{path}", subsystem=subsystem, properties={**basic, **properties})
        self.subscribers.send(event)

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Wait, without a deadline and beyond any signal. ENODEV: the machine went down, so the waiter is no more."""
        self.lock.wait_for(lambda: reached() or not self.running)
        if not self.running:
            raise fault(errno.ENODEV)

    def go_down(self) -> None:
        """The end of this boot: every directory is gone, every waiter is released."""
        with self.lock:
            self.running = False
            self.root.die()
            self.lock.notify_all()
