"""The commands that a Markdown page gives its reader."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(make [^`]+)`")


def commands_in(page: str) -> list[str]:
    """Each line of the ``sh`` blocks, and each ``make`` command within the text, in order and each once."""
    found = [(m.start(), n, line) for m in _BLOCK.finditer(page) for n, line in enumerate(_lines(m.group(1)))]
    found += [(m.start(), 0, m.group(1)) for m in _INLINE.finditer(page)]
    return list(dict.fromkeys(command for _, _, command in sorted(found)))


def _lines(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
