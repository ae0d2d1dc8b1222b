"""Where a device could be had, how much of it is left, and why not elsewhere."""
