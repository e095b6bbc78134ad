"""The heavy models: where they lie, what identifies them, loading each once, drawing with them; LoRA files."""
