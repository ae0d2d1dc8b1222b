"""Back-ends: one file for each way in which a kernel offers devices."""
