"""`pytest` for LoRA quality: suites in YAML, pictures drawn and scored, LoRAs retrained where they fail."""

__version__ = "0.1.0"
