"""What a newcomer's terminal says, as text: `python docs/terminals.py` runs every kind of run and writes terminal.md.

The runs are real, of the embedded models, 80 columns wide. What differs between two machines is left out or made
plain: pytest's own header, folders, durations; `--check` overlooks figures as well.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGE = DOCS / "terminal.md"
LIMIT_S = 1_200.0
OTHERS = ("PYTEST_", "HARNESS_", "GITHUB_", "CI", "BUILD_NUMBER")  # variables by which a terminal says more or less
SKIPPED = ("platform ", "rootdir: ", "configfile: ", "plugins: ", "cachedir: ")
HEAD = """# What the terminal says

<!-- Written by `python docs/terminals.py`: change the code, not this page. -->

Every kind of run, as it looks 80 columns wide; a wider terminal shows more columns. The last lines always say whether
the LoRA is good, why not, and where the pictures are; the exit code says the same to a script ([In CI](ci.md)).
"""


@dataclass(frozen=True)
class Scene:
    """One run, and what is to be seen in it."""

    title: str
    about: str
    status: int
    words: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)  # of the smoke suite's text
    interrupted: bool = False


SCENES: Mapping[str, Scene] = {
    "green": Scene("Green", "The shipped LoRA in the smallest suite.", 0),
    "red": Scene(
        "Red", "Somebody else's LoRA: the cause stands before any figure.", 1, ("--lora", "stranger.safetensors")
    ),
    "weak": Scene(
        "Red, trained too little",
        "What is missing, and what to do first.",
        1,
        ("--lora", "undertrained.safetensors", "--samples", "8"),
    ),
    "open": Scene(
        "Open",
        "The same with few seeds: too little was seen. A suite may ask for a proof (`on_inconclusive: fail`).",
        0,
        ("--lora", "undertrained.safetensors"),
    ),
    "unjudged": Scene(
        "Not judged",
        "The suite asks for a proof, and whom to prove it against was left out.",
        11,
        ("--providers", "lora"),
        {"samples: 2": "samples: 2\nbeat: [base]"},
    ),
    "broken": Scene("Broken", "A file that is no LoRA of this base.", 10, ("--lora", "broken.safetensors")),
    "interrupted": Scene("Interrupted", "Ctrl-C while pictures are drawn.", 2, ("--fresh",), interrupted=True),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help="which runs (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page says something else")
    options = parser.parse_args()
    names = options.scenes or list(SCENES)
    known = sections(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    made = {name: section(SCENES[name], text) for name, text in run_scenes(names).items()}
    if options.check:
        stale = [name for name in names if figureless(made[name]) != figureless(known.get(name, ""))]
        print(f"out of date: {', '.join(stale)}; python docs/terminals.py" if stale else "current")
        return bool(stale)
    texts = {**known, **made}
    PAGE.write_text("\n".join([HEAD, *(texts[name] for name in SCENES if name in texts)]), encoding="utf-8")
    print(f"wrote: {PAGE.relative_to(ROOT)}")
    return 0


def run_scenes(names: Sequence[str]) -> dict[str, str]:
    """The output of each, one after the other in one folder, as somebody would who tries things."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder).resolve() / "project"
        make_project(project)
        return {name: stable(run_scene(SCENES[name], project), project) for name in names}


def make_project(folder: Path) -> None:
    from tests.known import copy_known
    from tests.support import write_broken_lora

    (folder / "suites").mkdir(parents=True)
    copy_known(folder / ".harness")
    for name in ("stranger", "undertrained"):
        shutil.copy(ROOT / "fixtures" / "loras" / f"{name}.safetensors", folder)
    write_broken_lora(folder / "broken.safetensors")


def run_scene(scene: Scene, folder: Path) -> str:
    """What the terminal of one run says."""
    from tests.support import run_pytest

    text = (ROOT / "suites" / "smoke.yaml").read_text(encoding="utf-8").replace("../references", f"{ROOT}/references")
    for old, new in scene.changes.items():
        text = text.replace(old, new)
    (folder / "suites" / "smoke.yaml").write_text(text, encoding="utf-8")
    status, output = run_pytest(
        "suites/", *scene.words, "-p", "no:cacheprovider", cwd=folder, columns=80, without=OTHERS,
        meanwhile=lambda run: interrupt(run, folder / ".harness") if scene.interrupted else None,
    )  # fmt: skip
    if status != scene.status:
        raise RuntimeError(f"{scene.title}: exit code {status}, not {scene.status}\n{output}")
    return output


def interrupt(run: subprocess.Popen[str], store: Path) -> None:
    """As Ctrl-C does, once the run has drawn something."""
    began, before = time.time(), time.monotonic()
    while run.poll() is None and time.monotonic() < before + LIMIT_S:
        if any(path.stat().st_mtime > began for path in store.glob("images/*/*.png")):
            break
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)


def stable(text: str, folder: Path) -> str:
    """Without what differs between two machines or two days."""
    lines = [
        line.rstrip()
        for line in text.replace(f"{folder}/", "").replace(f"{ROOT}/", "").splitlines()
        if not line.startswith(SKIPPED)
    ]
    text = re.sub(r"images/(\w\w)/\1(\w{6})\w{56}\.png", r"images/\1/\1\2….png", "\n".join(lines))
    return re.sub(r"=+ (.*) in [\d.]+s(?: \([\d:]+\))? =+", lambda found: f" {found[1]} ".center(80, "="), text).strip()


def figureless(text: str) -> str:
    """A text in which no figure counts, nor how lines were broken around them."""
    return re.sub(r"[\s=_]+", " ", re.sub(r"[-+]?\d[\d.]*", "#", re.sub(r"images/\S+", "images", text)))


def section(scene: Scene, text: str) -> str:
    words = " ".join(("pytest", "suites/", *scene.words))
    return f"## {scene.title}\n\n{scene.about} Exit code {scene.status}.\n\n```text\n$ {words}\n{text}\n```\n"


def sections(page: str) -> dict[str, str]:
    """What the page has, by scene."""
    titles = {scene.title: name for name, scene in SCENES.items()}
    found = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {titles[title]: part for part in found if (title := part.splitlines()[0].removeprefix("## ")) in titles}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
