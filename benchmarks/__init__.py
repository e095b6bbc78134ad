"""Speed, memory and quality, measured side by side and printed with the method."""
