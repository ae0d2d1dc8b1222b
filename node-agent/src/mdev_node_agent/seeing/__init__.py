"""What is there: from sysfs to one latest look at the node."""
