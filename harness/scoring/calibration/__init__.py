"""What calibration found, for people: how well a suite tells its subject from others, and thresholds that follow."""

from harness.scoring.calibration.distributions import Discrimination, Sides, Suggested, examine
from harness.scoring.calibration.populations import CalibrationReport, calibrate_suite, gate_notes
from harness.scoring.calibration.writing import write_thresholds

__all__ = [
    "CalibrationReport",
    "Discrimination",
    "Sides",
    "Suggested",
    "calibrate_suite",
    "examine",
    "gate_notes",
    "write_thresholds",
]
