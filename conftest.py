"""Makes `pytest suites/` work from a checkout; an installed package brings the same plugin by its entry point."""

pytest_plugins = ["pytest_lora_harness"]
