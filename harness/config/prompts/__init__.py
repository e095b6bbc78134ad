"""Prompts before they are drawn: what the text encoder will read of them, ready negatives, weights and long prompts."""
