"""Money and calls of one run: asked before each paid call, settled after it; the limit stops the run cleanly."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.values import Generation, Outcome
from harness.providers.http_client.exchange import Unanswered


@dataclass(frozen=True)
class Reservation:
    """What one call may cost until it is settled."""

    provider: str
    price_usd: float | None  # of one picture; None: not known
    pictures: int

    @property
    def usd(self) -> float:
        return (self.price_usd or 0.0) * self.pictures


class Budget:
    """What a run has spent and may spend; threads share it. Without limits it only counts."""

    def __init__(self, usd: float | None = None, calls: int | None = None) -> None:
        self.usd, self.max_calls = usd, calls
        self.spent = 0.0  # US dollars, for pictures that came
        self.possible = 0.0  # US dollars, for calls that broke off and may be billed
        self.calls = 0  # paid calls that were made
        self.unpriced = 0  # of them, those whose price the profile does not say
        self.held_back = 0  # pictures that were not asked for because a limit was reached
        self.under_way = 0  # paid calls of which nobody knows yet what becomes of them
        self._reserved = 0.0
        self._lock = threading.Lock()

    def take(self, provider: str, price_usd: float | None, pictures: int) -> Reservation:
        """Reserve one call for `pictures` pictures.

        Raises:
            Unanswered: quota; the run's own limit would be passed.
        """
        taken = Reservation(provider, price_usd, pictures)
        with self._lock:
            why = self._passed(taken)
            if why:
                self.held_back += pictures
                raise Unanswered(Outcome.QUOTA, f"not asked: {why}")
            self.calls += 1
            self.under_way += 1
            self.unpriced += price_usd is None
            self._reserved += taken.usd
        return taken

    def lacks(self, pictures: int, usd: float | None) -> str:
        """Why so many more pictures could not all be bought, a call each; "" when they could. Nothing is reserved.

        Args:
            usd: what they cost in all; None: not known.
        """
        with self._lock:
            if self.max_calls is not None and self.calls + pictures > self.max_calls:
                return f"--max-calls {self.max_calls} leaves {max(0, self.max_calls - self.calls)} calls"
            if self.usd is not None and usd is None:
                return "the price of a picture is not known, so --budget cannot hold"
            left = math.inf if self.usd is None else self.usd - self.spent - self.possible - self._reserved
            return f"--budget {self.usd:g} leaves {max(0.0, left):g} USD" if (usd or 0.0) > left + 1e-9 else ""

    def settle(self, taken: Reservation, drawings: Sequence[Generation]) -> None:
        """What became of a call; `drawings` is empty when it was never known."""
        came = sum(drawing.cost_usd for drawing in drawings)
        maybe = sum(bool(drawing.meta.get("possibly_billed")) for drawing in drawings)
        with self._lock:
            self.under_way -= 1
            self._reserved -= taken.usd
            self.spent += came
            self.possible += maybe * (taken.price_usd or 0.0)

    @property
    def reached(self) -> str:
        """Which limit stopped something, in words; "" when none did."""
        if not self.held_back:
            return ""
        limits = [f"--budget {self.usd:g} USD"] if self.usd is not None else []
        limits += [f"--max-calls {self.max_calls}"] if self.max_calls is not None else []
        return f"{' / '.join(limits)} reached: {self.held_back} pictures were not asked for"

    def _passed(self, taken: Reservation) -> str:
        if self.usd is not None and taken.price_usd is None:
            return "its price is not known, so the budget cannot hold; set `price` in the profile"
        if self.max_calls is not None and self.calls >= self.max_calls:
            return f"the run's {self.max_calls} paid calls are made; raise --max-calls"
        wanted = self.spent + self.possible + self._reserved + taken.usd
        if self.usd is not None and wanted > self.usd + 1e-9:
            return f"the run's budget of {self.usd:g} USD is spent or promised; raise --budget"
        return ""
