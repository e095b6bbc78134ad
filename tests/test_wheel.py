"""A wheel in an empty folder: `harness init && pytest suites/` with nothing of the checkout at hand."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.real
def test_an_installed_wheel_needs_no_checkout(tmp_path: Path) -> None:
    """The dependencies are this environment's own; the package and its data come from the wheel alone."""
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "wheels", ROOT, cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").glob("lora_harness-*.whl")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "lib", wheel, cwd=tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    first = [str(tmp_path / "lib"), sysconfig.get_paths()["purelib"]]
    start = f"import sys; sys.path[:0] = {first!r}; import harness; print(harness.__file__)"
    # -I leaves the checkout's own editable install alone reachable by its hook, so the wheel is put before it
    where = run(sys.executable, "-I", "-c", start, cwd=work)
    assert where.startswith(str(tmp_path / "lib"))

    run(sys.executable, "-I", "-c", f"{start}; from harness.commands.cli import main; main(['init'])", cwd=work)
    arguments = ["suites/smoke.yaml", "-q", "--samples", "1", "--providers", "lora,base", "-p", "no:cacheprovider"]
    printed = run(
        sys.executable, "-I", "-c", f"{start}; import pytest; raise SystemExit(pytest.main({arguments!r}))", cwd=work
    )

    assert "verdict: PASS" in printed and (work / "reports" / "index.html").is_file()
