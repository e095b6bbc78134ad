"""What a picture is worth: reference sets, metrics, and their calibration."""
