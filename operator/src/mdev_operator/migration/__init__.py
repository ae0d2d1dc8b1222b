"""One migration: where its device comes from, what to do next, what to say of it, and the shell that does it."""
