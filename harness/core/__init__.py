"""The ground: values, errors, settings, YAML, text and pictures, and statistics; it knows nothing of the rest."""
