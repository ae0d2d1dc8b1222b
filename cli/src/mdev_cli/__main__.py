"""``python -m mdev_cli``: the same as ``kubectl-mdev``."""

from mdev_cli.cli import main

if __name__ == "__main__":
    main()
