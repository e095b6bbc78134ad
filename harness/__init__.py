"""`pytest` for LoRA quality: suites in YAML, pictures drawn and scored, LoRAs retrained where they fail.

PYTEST_DONT_REWRITE: `harness ci` imports this package before pytest could, and nothing in this file asserts.
"""

__version__ = "0.1.0"
