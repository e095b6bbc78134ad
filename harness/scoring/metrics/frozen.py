"""Anchors that were reviewed and are kept beside a suite, in `anchors/SUITE.json`: `harness calibrate --freeze`.

Whoever has the file measures on the same scale on any machine, and draws no cohort. It counts only for what it was made
of: another base, CLIP, description or reference picture has another identity, and the scale is found anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import SuiteError
from harness.core.files import write_file
from harness.core.stats.calibration import Calibration, calibration_from
from harness.core.values import Suite, to_record

FORMAT = 1


@dataclass(frozen=True)
class FrozenAnchors:
    """One suite's scale."""

    identity: str  # a hash of everything that it depends on
    calibration: Calibration
    weights: Mapping[str, float]  # the suite's, that `populations` were rated with
    populations: Sequence[Mapping[str, object]]  # a metric each, with the scores of the genuine and of the impostors


def frozen_path(suite: Suite) -> Path:
    """Where a suite's anchors are kept."""
    return suite.path.parent / "anchors" / f"{suite.path.stem}.json"


def read_frozen(suite: Suite) -> FrozenAnchors | None:
    """A suite's anchors; None where there are none.

    Raises:
        SuiteError: the file is none, or of a later version.
    """
    path = frozen_path(suite)
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record["version"] != FORMAT:
            raise SuiteError(f"anchors of version {record['version']}; this harness reads {FORMAT}", path)
        return FrozenAnchors(
            str(record["identity"]),
            calibration_from(record["calibration"]),
            dict(record["weights"]),
            tuple(record["populations"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SuiteError(f"no anchors ({error!r}); remove it, or run `harness calibrate --freeze`", path) from error


def write_frozen(suite: Suite, anchors: FrozenAnchors) -> Path:
    """Keep anchors beside the suite; where they are."""
    path = frozen_path(suite)
    path.parent.mkdir(exist_ok=True)
    record = {"version": FORMAT, "suite": suite.name, **to_record(anchors)}
    write_file(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return path
