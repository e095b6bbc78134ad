"""What the embedded models can do: the figures of fixtures/models/CARD.md, measured again."""

from __future__ import annotations

from benchmarks.process import ROOT


def measure() -> dict[str, float]:
    """The card's figures."""
    from harness.world.card import card_text, measure_all

    figures, tables = measure_all(ROOT / "fixtures" / "models", ROOT / "references" / "aldar_kose")
    print(card_text(figures, tables))
    return figures
