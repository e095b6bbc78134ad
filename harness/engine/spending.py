"""What a plan will cost before it is asked for, and what a run has cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.engine.plan import Task
from harness.providers.budget import Budget


@dataclass(frozen=True)
class Share:
    """One service's part of an estimate."""

    provider: str
    pictures: int
    price_usd: float | None  # of one picture; None: the profile does not say
    emulated: bool

    @property
    def usd(self) -> float:
        return self.pictures * (self.price_usd or 0.0)


def estimate(tasks: Sequence[Task]) -> list[Share]:
    """What drawing these pictures will cost, a share a service; models on this machine cost nothing and have none."""
    results: dict[str, Share] = {}
    for task in tasks:
        price = getattr(task.provider, "price_usd", 0.0)
        if price == 0.0:
            continue
        name = task.provider.name
        pictures = results[name].pictures + 1 if name in results else 1
        results[name] = Share(name, pictures, price, task.provider.emulated)
    return list(results.values())


def estimate_text(shares: Sequence[Share], budget: Budget) -> str:
    """An estimate in a line for people; "" when nothing costs anything."""
    if not shares:
        return ""
    parts = [
        f"{share.provider} {share.pictures} x {'unknown price' if share.price_usd is None else f'${share.price_usd:g}'}"
        for share in shares
    ]
    total = sum(share.usd for share in shares)
    words = f"{sum(share.pictures for share in shares)} pictures to buy, about ${total:.2f}: {', '.join(parts)}"
    words += " (emulated: nothing is billed)" if all(share.emulated for share in shares) else ""
    if budget.usd is not None and any(share.price_usd is None for share in shares):
        words += "; what has no price is not bought under --budget"
    if budget.usd is not None and total > budget.usd:
        words += f"; --budget {budget.usd:g} covers a part of them"
    return words


def spending_record(budget: Budget) -> dict[str, Any]:
    """What a run spent, for `results.json`. US dollars."""
    return {
        "paid_calls": budget.calls,
        "unpriced_calls": budget.unpriced,
        "possibly_billed_usd": round(budget.possible, 6),
        "held_back": budget.held_back,
        "budget_usd": budget.usd,
        "max_calls": budget.max_calls,
    }
