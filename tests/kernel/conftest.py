"""Guests for the tests of this directory. A guest lives as long as the test module that asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.kernel.guest.guest import Guest
from tests.kernel.guest.prepare import Images, compile_python, prepare

BootGuest = Callable[..., Guest]
"""``boot_guest(name, modules, cards)``: the running guest of that name, booted at the first call.

``cards`` is the number of its PCI devices with SR-IOV, by default 0.
"""


@pytest.fixture(scope="session")
def kernel() -> Images:
    """What guests boot from, prepared once per run."""
    images = prepare()
    compile_python()
    return images


@pytest.fixture(scope="module")
def boot_guest(kernel: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BootGuest]:
    """Boots guests on demand and switches them off after the module's last test.

    Threads may boot guests of different names at the same time.
    """
    running: dict[tuple[str, tuple[str, ...]], Guest] = {}
    with ExitStack() as guests:

        def boot(name: str = "a", modules: Sequence[str] = ("mtty",), cards: int = 0) -> Guest:
            key = (name, tuple(modules))
            if key not in running:
                directory = tmp_path_factory.mktemp(f"guest-{name}-")
                guest = Guest.boot(directory, name=name, modules=modules, images=kernel, cards=cards)
                running[key] = guests.enter_context(guest)
            return running[key]

        yield boot
