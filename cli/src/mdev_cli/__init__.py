"""kubectl plugin of mdev-operator: asks the compatibility engine from the command line."""
