"""The tree as text, in the very format of tests/kernel/trees/dump.py, so that the two kernels can be compared."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from tests.memkernel.tree import Dir, File, Link


def dump(root: Dir) -> Iterator[str]:
    """The links to parents and instances, and all that is below the directories they lead to, each once."""
    real: list[Dir] = []
    for place in ("class/mdev_bus", "bus/mdev/devices"):
        directory = root.directory(place)
        for name in sorted(directory.entries):
            entry = directory.entries[name]
            assert isinstance(entry, Link)
            yield from _lines(directory, name)
            real.append(entry.target)
    covered: list[Dir] = []
    for directory in real:
        if not any(_is_below(directory, above) for above in covered):
            covered.append(directory)
            assert directory.above is not None
            yield from _lines(directory.above, directory.name)


def _lines(above: Dir, name: str) -> Iterator[str]:
    entry = above.entries[name]
    shown = f"/sys/{above.path}/{name}"
    if isinstance(entry, Link):
        yield f"{shown} -> {_target(above, entry.target)}"
    elif isinstance(entry, Dir):
        yield f"{shown}/"
        for below in sorted(entry.entries):
            yield from _lines(entry, below)
    else:
        yield f"{shown} {entry.mode:o} {_content(entry)}"


def _content(file: File) -> str:
    if file.show is None:
        return "EACCES"
    try:
        return repr(file.show())[1:]
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _target(home: Dir, target: Dir) -> str:
    """The relative path that sysfs writes into a link: up to what lies above both, and down again."""
    assert target.above is not None
    up = 0
    base = home
    while base.above is not None and not _is_below(target.above, base):
        base, up = base.above, up + 1
    down = target.path.removeprefix(base.path).lstrip("/")
    return "../" * up + down


def _is_below(directory: Dir, above: Dir) -> bool:
    here: Dir | None = directory
    while here is not None and here is not above:
        here = here.above
    return here is above
