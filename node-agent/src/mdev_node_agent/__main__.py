"""``python -m mdev_node_agent``."""

from mdev_node_agent.cli import main

main()
