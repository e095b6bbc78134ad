"""What calibration found, for people: how well a suite tells its subject from others, and thresholds that follow."""

from harness.calibration.distributions import Finding, Sides, Suggested, examine
from harness.calibration.populations import Report, calibrate_suite, gate_notes
from harness.calibration.writing import write_thresholds

__all__ = ["Finding", "Report", "Sides", "Suggested", "calibrate_suite", "examine", "gate_notes", "write_thresholds"]
