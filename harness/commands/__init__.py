"""One file a subcommand: each translates between a person and the package."""
