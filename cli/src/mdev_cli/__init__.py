"""kubectl plugin of mdev-operator: offline compatibility check."""
