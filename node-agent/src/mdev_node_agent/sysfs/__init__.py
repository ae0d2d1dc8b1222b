"""The port to the kernel: everything the agent reads, writes, lists and hears goes through it."""
