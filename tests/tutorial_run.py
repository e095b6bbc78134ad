"""Runs commands of a page one after the other in this process, so that the models' libraries are loaded once.

Standard input is JSON: a list of commands, each a list of words. After each command a line of JSON with its exit
status follows its output.
"""

from __future__ import annotations

import json
import sys

import pytest

from harness.commands.cli import main


def run() -> None:
    for words in json.load(sys.stdin):
        sys.argv = list(words)  # a LoRA's record says by which command it was made
        status = int(pytest.main(words[1:])) if words[0] == "pytest" else main(words[1:])
        print(f"\n{json.dumps({'words': words, 'status': status})}", flush=True)


if __name__ == "__main__":
    run()
