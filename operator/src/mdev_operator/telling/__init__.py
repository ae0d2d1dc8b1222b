"""What people are told as Events, once each."""
