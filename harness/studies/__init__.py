"""What drives the engine many times: comparisons, sweeps, experiments, the metric card."""
