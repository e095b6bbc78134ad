"""Sweeps over checkpoints and strengths: a row a picture, a grid for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.studies.sweep import cells_of, grid_lines, read_strengths, sweep
from tests.painter import Studio
from tests.test_compare import make_bench
from tests.test_experiments import quick_profile


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def checkpoints(studio: Studio, *levels: float) -> list[Path]:
    return [studio.write_lora(f"step-{number}", level) for number, level in enumerate(levels)]


def test_every_checkpoint_is_drawn_at_every_strength_on_the_open_cases(studio: Studio) -> None:
    rows = sweep(make_bench(studio, samples=2, locked=True), checkpoints(studio, 0.9, 0.5), (0.6, 1.0))

    assert len(rows) == 2 * 2 * 4 * 2  # checkpoints, strengths, open cases, seeds
    assert {(row.checkpoint, row.strength) for row in rows} == {
        (name, strength) for name in ("step-0", "step-1") for strength in (0.6, 1.0)
    }
    assert all(row.outcome == "ok" and row.image and row.scores["quality"] for row in rows)
    assert not any(row.case.startswith("locked") for row in rows)


def test_the_grid_has_means_with_intervals_and_names_the_best(studio: Studio) -> None:
    cells = cells_of(sweep(make_bench(studio), checkpoints(studio, 0.9, 0.5), (0.6, 1.0)))

    assert [(cell.checkpoint, cell.strength, round(cell.quality.mean, 1)) for cell in cells if cell.quality] == [
        ("step-0", 0.6, 0.9), ("step-0", 1.0, 0.9), ("step-1", 0.6, 0.5), ("step-1", 1.0, 0.5)
    ]  # fmt: skip
    text = "\n".join(grid_lines(cells))
    assert "@0.6" in text and "best here: step-0" in text and "looks better than it is" in text


def test_a_second_sweep_draws_only_what_is_new(studio: Studio) -> None:
    bench, files = make_bench(studio), checkpoints(studio, 0.9, 0.5)
    sweep(bench, files, (1.0,))
    before = len(studio.drawn)

    again = sweep(bench, files, (1.0,))
    assert len(studio.drawn) == before

    more = sweep(bench, files, (1.0, 0.6))
    assert len(more) == 2 * len(again) and len(studio.drawn) == before + len(again)


def test_what_cannot_be_combined_is_refused(studio: Studio) -> None:
    (file,) = checkpoints(studio, 0.9)

    for files, strengths, said in (
        ([], (1.0,), "needs"),
        ([file, file], (1.0,), "twice"),
        ([file], (1.0, 1.0), "twice"),
    ):
        with pytest.raises(UsageError, match=said):
            sweep(make_bench(studio), files, strengths)
    with pytest.raises(UsageError, match="numbers with commas"):
        read_strengths("0.6;1")


def test_the_command_prints_the_grid_and_writes_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.commands.cli import main
    from harness.engine.record import SWEEPS
    from harness.store import Store
    from tests.support import ROOT

    monkeypatch.chdir(ROOT)
    champion = "references/aldar_kose/champion.safetensors"
    options = [
        "--profile",
        str(quick_profile(tmp_path)),
        "--samples",
        "1",
        "--strengths",
        "0,1",
        "--store",
        str(tmp_path),
        "--json",
        str(tmp_path / "rows.json"),
    ]

    status = main(["sweep", "suites/smoke.yaml", champion, *options])

    record = json.loads((tmp_path / "rows.json").read_text())
    assert status == 0 and [cell["strength"] for cell in record["cells"]] == [0.0, 1.0]
    assert len(record["rows"]) == 2 * 2 and len({row["image"] for row in record["rows"]}) == 4
    assert "best here: champion at" in capsys.readouterr().out
    with Store(tmp_path) as store:  # where a report looks for it
        tries = store.memo(SWEEPS, (ROOT / "suites/smoke.yaml").resolve().as_posix())
    assert [item["strength"] for item in tries] == [0.0, 1.0] and all(item["image"] for item in tries)
