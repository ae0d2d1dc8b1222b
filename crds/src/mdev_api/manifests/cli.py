"""``mdev-api-manifests [--check] [DIR]``: write the CRDs, or say whether the files are what would be written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mdev_api.manifests.definitions import DEFINITIONS, manifest

_HEADER = "# Generated from mdev_api.kinds by mdev-api-manifests: change the kinds, not this file.\n"


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors: what is shared in Python is written out each time."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def files() -> dict[str, str]:
    """Name and text of every manifest."""
    return {f"{definition.plural}.yaml": _text(manifest(definition)) for definition in DEFINITIONS}


def differences(directory: Path) -> list[str]:
    """One sentence for each manifest in ``directory`` that is missing, outdated, or of no kind."""
    wanted = files()
    present = {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.yaml"))}
    missing = [f"{directory / name} is missing" for name in wanted if name not in present]
    outdated = [
        f"{directory / name} differs from the kinds"
        for name in wanted
        if present.get(name, wanted[name]) != wanted[name]
    ]
    strange = [f"{directory / name} belongs to no kind" for name in present if name not in wanted]
    return missing + outdated + strange


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 if --check found a difference."""
    parser = argparse.ArgumentParser(prog="mdev-api-manifests", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    parser.add_argument("directory", nargs="?", type=Path, default=Path("crds"), help="where the files are (crds)")
    options = parser.parse_args(arguments)
    directory: Path = options.directory
    if not directory.is_dir():
        parser.error(f"{directory} is no directory")
    if options.check:
        found = differences(directory)
        for sentence in found:
            print(f"{sentence}: run mdev-api-manifests {directory}", file=sys.stderr)  # noqa: T201
        return 1 if found else 0
    for name, text in files().items():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


def _text(content: dict[str, Any]) -> str:
    return _HEADER + yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
