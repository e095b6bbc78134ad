"""`harness emulator`: the services, emulated on this machine."""

from __future__ import annotations

from harness.commands.options import command, option
from harness.emulator import serve


@command
@option("--port", type=int, default=8899)
@option("--services", default="", metavar="A,B", help="list only these services' addresses and faults")
@option("--faults", default="", metavar="A,B", help="answer the first paid requests with these faults")
@option("--delay", type=float, default=0.0, metavar="SECONDS", help="that each paid call takes")
@option("--scale", type=float, default=1.0, help="of the pictures: 0.125 is an eighth of the size asked for")
def emulator(port: int, services: str, faults: str, delay: float, scale: float) -> int:
    serve(port, words(faults), delay, scale, words(services))
    return 0


def words(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]
