"""The metric card: known faults are planted in drawn pictures, and the scores must notice each of them."""
