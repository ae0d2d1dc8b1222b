"""The cluster as the reflectors see it, and how old each word of it is."""
