"""The metric card: known faults are planted in drawn pictures, and the scores must notice each of them."""

from harness.card.axes import Axis, Curve, Figure, judge_axes
from harness.card.protocol import Card, Effort, make_card

__all__ = ["Axis", "Card", "Curve", "Effort", "Figure", "judge_axes", "make_card"]
