"""Operators, agents, kernels and movers of VMs in thousands of histories: the laws of reservations hold in all."""

from __future__ import annotations

from tests.durable.protocol.effort import HISTORIES
from tests.durable.protocol.machine import Protocol

TestReservationProtocol = Protocol.TestCase
TestReservationProtocol.settings = HISTORIES
