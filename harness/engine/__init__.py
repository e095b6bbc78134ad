"""The plan, batching, scoring, and the broker for test processes; the core, which does not know pytest."""
