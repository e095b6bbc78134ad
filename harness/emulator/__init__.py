"""Picture and text services on this machine: real sockets, the real services' contracts, faults on demand, a ledger."""

from __future__ import annotations

from harness.emulator.fault_plans import applicable
from harness.emulator.faults import FAULTS, Fault
from harness.emulator.ledger import Entry, Limits
from harness.emulator.server import Emulator, serve
from harness.emulator.services import SERVICES
from harness.emulator.shared import share

__all__ = ["FAULTS", "SERVICES", "Emulator", "Entry", "Fault", "Limits", "applicable", "serve", "share"]
