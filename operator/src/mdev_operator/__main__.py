"""``python -m mdev_operator``: the command ``mdev-operator``."""

from mdev_operator.cli import main

main()
