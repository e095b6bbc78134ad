"""Scores to verdicts, ranks, comparisons, causes and the record of a run."""
