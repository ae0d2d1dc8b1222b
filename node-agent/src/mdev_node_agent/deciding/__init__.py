"""What next and why: pure decisions from entry, answer, record and sight."""
