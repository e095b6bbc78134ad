"""Which faults a service can be asked for, and whether a list of them makes sense."""

from __future__ import annotations

from collections.abc import Iterable

from harness.core.errors import UsageError, nearest
from harness.emulator.faults import LIST, Fault, known_fault
from harness.emulator.services import SERVICES, parts_of


def applicable(service: str) -> tuple[Fault, ...]:
    """The faults that a service serves, in the order of the table; of OpenAI's pictures for "openai", of its chat for
    "openai_chat".

    Raises:
        UsageError: no such service.
    """
    modules = {module: (name, place) for name, parts in SERVICES.items() for place, module in enumerate(parts)}
    name, place = modules.get(service, (service, 0))
    served = parts_of(name)[place].serves()
    return tuple(fault for fault in LIST if fault.name in served)


def check_faults(service: str, names: Iterable[str]) -> list[str]:
    """The names, all of them known and served by the service.

    Raises:
        UsageError: one is not.
    """
    wanted = [known_fault(name).name for name in names]
    served = frozenset[str]().union(*(part.serves() for part in parts_of(service)))
    for name in wanted:
        if name not in served:
            raise UsageError(f"{service} has no fault {name!r}; {nearest(name, served)}")
    return wanted
