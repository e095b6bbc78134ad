"""The metric card: planted faults that the scores must notice, on people whom no model has seen."""

from __future__ import annotations

from harness.commands.card import measure_card
from harness.studies.metric_card.page import card_text
from harness.studies.metric_card.protocol import Card, Effort


def measure() -> dict[str, float]:
    """Every axis figure, how many axes there are, and how many hold."""
    card = measure_card(Effort(), "embedded", progress=True)
    print(card_text(card))
    return {
        "axes": len(card.axes),
        "axes_passed": card.passed,
        "people": card.people,
        "pictures": card.pictures,
        **figures_of(card),
    }


def figures_of(card: Card) -> dict[str, float]:
    """Every figure by axis and name, flat: for the benchmark's last line."""
    return {
        f"{axis.name}.{figure.name}".replace(" ", "_"): round(figure.value, 4)
        for axis in card.axes
        for figure in axis.figures
    }
