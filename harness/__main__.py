"""`python -m harness` is `harness`; `accelerate launch -m harness train ...` needs a module."""

from __future__ import annotations

from harness.commands.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
