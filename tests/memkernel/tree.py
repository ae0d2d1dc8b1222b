"""sysfs as objects: directories, symlinks, and files that are functions.

Nothing here locks or knows what a device is; :mod:`tests.memkernel.kernel` holds one lock over all of it. A directory
that is taken out of the tree is *gone* with everything below it, and stays gone for whoever still holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Show = Callable[[], bytes]
Store = Callable[[bytes], None]


@dataclass(kw_only=True, eq=False)
class File:
    """An attribute. Without ``show`` nobody can read it, without ``store`` nobody can write it, not even root.

    ``active``: calls of ``store`` that have not returned; the kernel waits for them before the file is really gone.
    """

    show: Show | None = None
    store: Store | None = None
    active: int = 0

    @property
    def mode(self) -> int:
        """Permission bits, as the kernel shows them."""
        if self.store is None:
            return 0o444
        return 0o200 if self.show is None else 0o644


@dataclass(kw_only=True, eq=False)
class Link:
    """A symlink to a directory."""

    target: Dir


@dataclass(kw_only=True, eq=False)
class Dir:
    """A directory. ``above`` None: the root of sysfs."""

    name: str = ""
    above: Dir | None = None
    entries: dict[str, Dir | Link | File] = field(default_factory=dict)
    gone: bool = False

    def directory(self, path: str) -> Dir:
        """The directory of this path below, made where it is missing."""
        here = self
        for name in path.split("/"):
            entry = here.entries.get(name)
            if isinstance(entry, Link):
                entry = entry.target
            if entry is None:
                entry = here.entries[name] = Dir(name=name, above=here)
            assert isinstance(entry, Dir), f"{here.path}/{name} is a file"
            here = entry
        return here

    def link(self, name: str, target: Dir) -> None:
        """Make a symlink."""
        self.entries[name] = Link(target=target)

    def fill(self, files: Mapping[str, File]) -> None:
        """Make files."""
        self.entries.update(files)

    def drop(self, *names: str) -> None:
        """Take entries away, directories with everything below; those that do not exist are passed over."""
        for name in names:
            entry = self.entries.pop(name, None)
            if isinstance(entry, Dir):
                entry.die()

    def die(self) -> None:
        """Be gone, with everything below."""
        self.gone = True
        self.drop(*self.entries)

    @property
    def path(self) -> str:
        """Path below the root of sysfs."""
        if self.above is None:
            return ""
        above = self.above.path
        return f"{above}/{self.name}" if above else self.name

    def files(self) -> list[File]:
        """The files that stand right here."""
        return [entry for entry in self.entries.values() if isinstance(entry, File)]


def constant(text: str) -> File:
    """A read-only file that always says the same."""
    return File(show=lambda: f"{text}\n".encode())


def reading(look: Callable[[], str]) -> File:
    """A read-only file that says what it finds."""
    return File(show=lambda: f"{look()}\n".encode())
