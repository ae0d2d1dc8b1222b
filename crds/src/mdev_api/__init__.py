"""The API of mdev-operator: kinds, meaning, compatibility engine, and a small Kubernetes toolkit."""
