"""What DeviceProfiles mean, which of them are suspect, and which nobody needs."""
