"""`harness cache ...`: what the store holds, whether it is sound, and what may go."""
