"""One suite on several machines: which cases a shard draws. A prompt stays whole, so that its providers stay paired."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from harness.core.errors import UsageError
from harness.core.values import Suite

MOST = 1_000  # shards


@dataclass(frozen=True)
class Shard:
    """One of several runs that draw a suite together; `harness merge` judges the suite over all of them."""

    number: int  # from 1
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def cases(self, suite: Suite) -> frozenset[str]:
        """The ids of its cases: every n-th of the file, whatever else is selected, the same on every machine.

        Where the count begins depends on the suite's name, so that many small suites do not all fall to the first. A
        case goes where the one goes that draws the same.
        """
        places = {case.id: place for place, case in enumerate(suite.cases, zlib.crc32(suite.name.encode()))}
        firsts = {name: places[suite.repeats.get(name, name)] for name in places}
        return frozenset(name for name, place in firsts.items() if place % self.of == self.number - 1)


def read_shard(text: str) -> Shard:
    """`I/N`, I from 1 to N.

    Raises:
        UsageError: anything else.
    """
    result = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text.strip())
    shard = Shard(int(result[1]), int(result[2])) if result else Shard(0, 0)
    if not 1 <= shard.number <= shard.of <= MOST:
        raise UsageError(f"--shard {text}: say I/N, the I-th of N shards: 1/3, 2/3 and 3/3 make a whole run")
    return shard
