"""A picture service on this machine: a real socket, the providers' contract, world pictures, faults on demand."""

from __future__ import annotations

from harness.emulator.faults import FAULTS
from harness.emulator.server import Emulator, serve

__all__ = ["FAULTS", "Emulator", "serve"]
