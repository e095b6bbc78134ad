"""LoRA files as files: names, conversion, shrinking, combining, looking into, publishing and taking in."""
