"""What the embedded models can do: the figures of fixtures/models/CARD.md, measured again."""

from __future__ import annotations

from benchmarks.process import ROOT


def measure() -> dict[str, float]:
    """The card's figures."""
    from harness.world.card import CARD_HEAD, measure_all, table

    figures, tables = measure_all(ROOT / "fixtures" / "models", ROOT / "references" / "aldar_kose")
    print(CARD_HEAD)
    for name, shares in tables.items():
        print(table(name, shares))
    return figures
