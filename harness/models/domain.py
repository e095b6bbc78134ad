"""What a profile's models know: a small summary of how such pictures look to them, and how far off others are.

CLIP's image tower is read twice: what it makes of the patches on the way, where it still sees how a picture is drawn,
and what it makes of the whole at its end, before the projection to words. The distance is Mahalanobis' from pictures
that the models know (Lee et al. 2018), by principal components; what these leave over counts as noise (Tipping and
Bishop 1999). A picture is foreign where either view is too far from what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from harness.config.profile import Profile
from harness.core.arrays import Floats
from harness.core.errors import ModelError
from harness.core.settings import data_root
from harness.core.values import hash_file
from harness.models.identity import library_class
from harness.models.loading import Models

VERSION = "1"  # of the features and the distance: raise it, and summaries have to be made anew
LEAST = 200  # pictures of which a summary can be made
RANK = 128  # principal components of a view, at most
KEPT_BACK = 4  # every fourth picture is not summarised: usual distances are taken from these
BOUND = 2.0  # standard deviations of the known pictures' distances above their mean: frozen on half of the sources
ROUNDING = 1e-5  # of the largest variance: what rounded axes leave over by themselves stays below it
LEAST_SPREAD = 0.02  # of log distances
Viewer = Callable[[Sequence[Image.Image]], Floats]
"""Pictures to features: (n, views, width)."""


@dataclass(frozen=True)
class DomainSummary:
    """How the known pictures look, view by view, and how far off they usually are."""

    means: Floats  # (views, width)
    axes: Floats  # (views, rank, width), rows of unit length
    variances: Floats  # (views, rank)
    noise: Floats  # (views,): mean variance of what the axes leave over
    usual: Floats  # (views + 1, 2): mean and standard deviation of log distances, last of the larger standardised one
    made_for: tuple[str, ...]  # VERSION, the libraries' class, CLIP's hash
    sha: str = ""  # of the file

    def logs(self, features: Floats) -> Floats:
        """Log distances by view (n, views) of features (n, views, width); 0 is about usual."""
        offsets = features - self.means
        along = np.einsum("nvw,vrw->nvr", offsets, self.axes)
        left = (offsets**2).sum(-1) - (along**2).sum(-1)
        squares = (along**2 / self.variances).sum(-1) + np.maximum(left, 0) / self.noise
        return np.asarray(np.log(np.maximum(squares / self.means.shape[-1], 1e-12)) / 2)

    def distances(self, features: Floats) -> Floats:
        """How far off each picture is (n,), in standard deviations of the known ones; above BOUND it is foreign."""
        views = self.usual[:-1]
        farther = ((self.logs(features) - views[:, 0]) / views[:, 1]).max(-1)
        return np.asarray((farther - self.usual[-1, 0]) / self.usual[-1, 1])

    def save(self, path: Path) -> None:
        """The axes in half precision, everything else in float32; what it was made for in the header."""
        arrays = {name: getattr(self, name).astype(np.float32) for name in ("means", "variances", "noise", "usual")}
        path.parent.mkdir(parents=True, exist_ok=True)
        version, libraries, clip = self.made_for
        facts = {"version": version, "libraries": libraries, "clip": clip}
        save_file({**arrays, "axes": self.axes.astype(np.float16)}, path, facts)


def summarise(features: Floats, made_for: tuple[str, ...]) -> DomainSummary:
    """A summary of known pictures' features (n, views, width); every fourth is kept back for the usual distances.

    Raises:
        ModelError: too few pictures.
    """
    if len(features) < LEAST:
        raise ModelError(f"{len(features)} pictures; {LEAST} are needed to say what models know")
    back, views = kept_back(len(features)), features.shape[1]
    parts = [principal(features[~back, view]) for view in range(views)]
    means, axes, variances, noise = (np.stack([part[place] for part in parts]) for place in range(4))
    plain = DomainSummary(means, axes, variances, noise, np.tile([0.0, 1.0], (views + 1, 1)), made_for)
    usual = [*map(usual_of, plain.logs(features[back]).T), (0.0, 1.0)]
    centred = replace(plain, usual=np.array(usual))
    return replace(centred, usual=np.array([*usual[:-1], usual_of(centred.distances(features[back]))]))


def usual_of(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation."""
    return float(values.mean()), max(LEAST_SPREAD, float(values.std(ddof=1)))


def kept_back(count: int) -> npt.NDArray[np.bool_]:
    """Which of so many pictures no summary is made of."""
    return np.arange(count) % KEPT_BACK == KEPT_BACK - 1


def principal(rows: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, axes, their variances, and the mean variance of what is left over, of rows (n, width).

    The axes are rounded as a file keeps them, so that what they leave over is the same for who reads it.
    """
    mean = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    variances = lengths**2 / (len(rows) - 1)
    width, rank = rows.shape[1], min(RANK, len(variances))
    left = max(float(variances[rank:].sum()) / max(1, width - rank), ROUNDING * float(variances[0]))
    kept = axes[:rank].astype(np.float16).astype(np.float32)
    return mean, kept, np.maximum(variances[:rank], left), np.array(left)


# --- of a profile -----------------------------------------------------------------------------------------------------


def made_for(models: Models, profile: Profile) -> tuple[str, ...]:
    """What a summary holds for: another CLIP, or another preprocessing, sees otherwise."""
    return VERSION, library_class("transformers", "pillow"), models.model_hash(profile.models.clip)


def find_summary(profile: Profile, models: Models) -> DomainSummary | None:
    """The summary that a profile names; None where it names none.

    Raises:
        ModelError: the file is not there, is none, or was made for another CLIP.
    """
    name = getattr(profile.models, "domain", None)
    if name is None:
        return None
    path = next((base / name for base in (models.root, data_root()) if (base / name).is_file()), None)
    remedy = f"make it with `harness domain FOLDER --profile {profile.name} --into {name}`, or drop `models: domain:`"
    if path is None:
        raise ModelError(f"{models.root / name}: there is no such summary of what the models know; {remedy}")
    summary = read_summary(path)
    version, _, clip = made_for(models, profile)
    if (summary.made_for[0], summary.made_for[2]) != (version, clip):
        raise ModelError(f"{path}: made for another CLIP, or by another version; {remedy}")
    return summary


def read_summary(path: Path) -> DomainSummary:
    """A file that `save` wrote. Raises ModelError where it is none."""
    try:
        with safe_open(path, "np") as opened:
            facts = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name).astype(np.float32) for name in opened.keys()}  # noqa: SIM118 - no mapping
        made = facts["version"], facts["libraries"], facts["clip"]
        return DomainSummary(**arrays, made_for=made, sha=hash_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: no summary of what models know ({error}); make it again") from error


def load_viewer(models: Models) -> Viewer:
    """The profile's CLIP as what looks at pictures; loads it."""
    return models.clip().read_views
