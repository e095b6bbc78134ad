"""What a person writes, read strictly: suites, profiles, options of drawing and training, and prompts."""
