"""`pytest` for LoRA quality: suites in YAML, pictures drawn and scored, LoRAs retrained where they fail.

PYTEST_DONT_REWRITE: `harness ci` imports this package before pytest could, and nothing in this file asserts.
"""

from harness.core.moved import keep_former_paths

__version__ = "0.1.0"

keep_former_paths()
