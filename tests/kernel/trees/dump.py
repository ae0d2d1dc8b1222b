"""Print everything that sysfs says about mediated devices, byte by byte, as text that can be compared and kept.

    python3 dump.py [SYSFS]             SYSFS is /sys where not given

It looks at each link in class/mdev_bus (the parents) and bus/mdev/devices (the instances) and at all that is below the
directories they lead to. One line each, names sorted:

    <path>/                             a directory
    <path> -> <target>                  a link, never followed
    <path> <mode> '<content>'           a file; its content as Python writes bytes without the b
    <path> <mode> <errno name>          a file that cannot be read, such as `create` (EACCES)

Paths begin with /sys, wherever SYSFS is. The script knows nothing of what it reads and needs nothing but Python, so
that its word counts beside that of the program under test. `gfx.txt` here is its output in a guest with `gfx parents=2`
and one instance of each type on gfx0; tests/kernel/test_driver.py compares the two.
"""

import errno
import stat
import sys
from collections.abc import Iterator
from pathlib import Path


def content(path: Path) -> str:
    """What one read of the whole file gives, quoted, or the name of the errno that it fails with."""
    try:
        return repr(path.read_bytes())[1:]
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))


def lines(sysfs: Path, path: Path) -> Iterator[str]:
    """The lines of ``path`` and of all that is below it."""
    shown = f"/sys/{path.relative_to(sysfs)}"
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield f"{shown} -> {path.readlink()}"
        elif stat.S_ISDIR(mode):
            yield f"{shown}/"
            for below in sorted(path.iterdir()):
                yield from lines(sysfs, below)
        else:
            yield f"{shown} {stat.S_IMODE(mode):o} {content(path)}"
    except FileNotFoundError:
        # It was listed and went away meanwhile, as instances do: then it is not part of the picture.
        return


def dump(sysfs: Path) -> Iterator[str]:
    """All lines; a directory below one already shown, as an instance is below its parent, is not shown again."""
    real: list[Path] = []
    for links in (sysfs / "class/mdev_bus", sysfs / "bus/mdev/devices"):
        for link in sorted(links.iterdir()) if links.is_dir() else []:
            yield from lines(sysfs, link)
            real.append(link.resolve())
    covered: list[Path] = []
    for directory in real:
        if not any(directory.is_relative_to(above) for above in covered):
            covered.append(directory)
            yield from lines(sysfs, directory)


if __name__ == "__main__":
    for line in dump(Path(sys.argv[1] if len(sys.argv) > 1 else "/sys").resolve()):
        print(line)
