"""What the plugin claims of a pytest session: its options' names, and which YAML files are suites.

Every session of a machine asks this, so it imports nothing but the standard library; `pytest_lora_harness` loads it by
its place, because `import harness` may be somebody else's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

INI = "harness_suites"
SUFFIXES = (".yaml", ".yml")
MOST, DEPTH = 2_000, 4  # files that are looked at for suites, and folders below one that is named
CONFIGURED = re.compile(rf"^\s*{INI}\s*=", re.MULTILINE)
CONFIGURATIONS = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")

OPTIONS: Mapping[str, tuple[str, str]] = {
    "--profile": ("NAME", "models, providers and scorers: embedded, sdxl or a file (default: embedded)"),
    "--providers": ("A,B", "only these providers of each suite"),
    "--samples": ("N", "seeds per prompt instead of the suite's own number"),
    "--lora": (
        "FILE[@STRENGTH][+...]",
        "the LoRA under test instead of the suite's own; behind + come LoRAs that are drawn with it",
    ),
    "--store": ("DIR", "where pictures and records are kept (default: .harness)"),
    "--fresh": ("", "draw and score everything again"),
    "--locked": ("", "also run the cases that are kept for promotions"),
    "--report-dir": ("DIR", "where the report goes (default: reports)"),
    "--baseline": (
        "FILE|compare|off|save|git:REF",
        "what to compare with, paired by case and seed (default: baselines/<suite>.json beside the suite, if any)",
    ),
    "--update-baseline": (
        "",
        "write baselines/<suite>.json beside each suite from this run, if it is green and complete",
    ),
    "--update-baseline-anyway": ("", "write it from a red or incomplete run too"),
    "--budget": ("USD", "stop asking remote services before more than this is spent (default: no limit)"),
    "--max-calls": ("N", "make at most N paid calls (default: no limit)"),
    "--shard": ("I/N", "draw only every N-th case; `harness merge` judges the suites over all N shards"),
    "--retrain": ("N", "retrain a failing LoRA, up to N rounds, and keep it only if it is proven better"),
    "--retrain-budget": ("MINUTES", "let no training of --retrain go on after so many minutes (default: no limit)"),
}
"""Option to the name of its value, "" for a switch, and its help; `Settings.load` reads what is given."""
WHOLE = ("--samples", "--retrain")  # options whose value is a whole number
ALWAYS = ("--lora", "--retrain", "--retrain-budget", "--locked")  # short names that nobody else means


# --- what is a suite? -----------------------------------------------------------------------------------------------

HEAD = 100_000  # bytes of a file that are looked at
WORDS = ("version", "suite", "subject", "cases", "providers", "matrix", "include")  # a suite's own, at its top level
KEYS = re.compile(rf"""^\ufeff?["']?({"|".join(WORDS)})["']?\s*:""", re.MULTILINE)
TRIGGER = re.compile(r"""^\s+["']?trigger["']?\s*:|[{,]\s*["']?trigger["']?\s*:""", re.MULTILINE)
SCHEMA_LINE = re.compile(r"^# yaml-language-server: \$schema=\S*suite\.json", re.MULTILINE)


def is_suite_file(path: Path, named: bool = False) -> bool:
    """Whether a YAML file is one of ours.

    By itself only what nobody else writes is: the editors' line with our schema (of a file that was cut off nothing
    else may be left), or three of the four things that a suite is made of and a subject's trigger.

    Args:
        named: by hand, or it lies where the configuration says that suites do: two of a suite's keys will do, so that
            a broken one is told of.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(HEAD)
    except OSError:
        return named
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # UTF-16 or UTF-32; refused later, in words
    head = "\n".join(raw.replace(b"\0", b"").decode("latin-1" if wide else "utf-8", "replace").splitlines())
    if SCHEMA_LINE.search(head):
        return True
    keys = set(KEYS.findall(head))
    parts = ("suite" in keys, "subject" in keys, "providers" in keys, bool(keys & {"cases", "matrix", "include"}))
    return (sum(parts) >= 3 and bool(TRIGGER.search(head))) or (named and bool(keys & set(WORDS[1:4])))


def suites_in(place: Path) -> Iterator[Path]:
    """The YAML files of a folder that are suites, not too deep and not too many; a file by itself."""
    if place.is_file():
        yield from [place] if place.suffix in SUFFIXES and is_suite_file(place, named=True) else []
        return
    left = MOST
    for folder, folders, files in os.walk(place):
        depth = len(Path(folder).relative_to(place).parts)
        hidden = {name for name in folders if name.startswith((".", "_")) or name in ("node_modules", "venv", "build")}
        folders[:] = sorted(set(folders) - hidden) if depth < DEPTH else []
        for name in sorted(files):
            left -= 1
            if left < 0:
                return
            if name.endswith(SUFFIXES) and is_suite_file(Path(folder) / name):
                yield Path(folder) / name
