"""What the kubelet and virt-handler speak, as far as the agent needs it, and the code that ``make protos`` generates.

The ``.proto`` files are written by hand: package, service and method names and the field numbers are theirs, messages
and fields that the agent neither reads nor writes are left out (protobuf passes over what it does not know).
"""
