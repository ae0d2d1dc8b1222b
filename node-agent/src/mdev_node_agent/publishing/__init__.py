"""What was seen, told: NodeDevices, DeviceProfiles, the sign of life."""
