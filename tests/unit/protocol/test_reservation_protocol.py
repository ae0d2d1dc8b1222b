"""Operators, agents, kernels and movers of VMs in thousands of histories: the laws of reservations hold in all."""

from __future__ import annotations

from tests.unit.protocol.effort import HISTORIES
from tests.unit.protocol.machine import Protocol

TestReservationProtocol = Protocol.TestCase
TestReservationProtocol.settings = HISTORIES
