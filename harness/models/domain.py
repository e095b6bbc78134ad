"""What a profile's models know: a small summary of how such pictures look to them, and how far off others are.

A picture is looked at by what CLIP's image tower makes of its patches half-way: there it still sees what the picture is
drawn like, where its last layer has only words for it. The distance is Mahalanobis' from the pictures that the models
know (Lee et al. 2018), by principal components, with what these leave over counted as noise (Tipping and Bishop 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
DEPTHS = (1 / 3, 1 / 2, 2 / 3)  # of the image tower: where the patches are read
RANK = 96  # principal components a depth, at most
KEPT_BACK = 4  # every fourth picture is not summarised: the bound is taken from these
WIDER = 3.0  # spreads of their log distances from their mean to the bound
LEAST_SPREAD = 0.02  # of log distances
Viewer = Callable[[Sequence[Image.Image]], Floats]
"""Pictures to features: (n, depths, width)."""


@dataclass(frozen=True)
class DomainSummary:
    """How the known pictures look, depth by depth, and where the bound lies."""

    means: Floats  # (depths, width)
    axes: Floats  # (depths, rank, width), rows of unit length
    variances: Floats  # (depths, rank)
    noise: Floats  # (depths,): mean variance of what the axes leave over
    bound: float  # log distance beyond which a picture is of another kind
    spread: float  # standard deviation of the known pictures' log distances
    made_for: tuple[str, ...]  # versions and the model: VERSION, the libraries' class, CLIP's hash
    sha: str = ""  # of the file

    def distances(self, features: Floats) -> Floats:
        """Log distances (n,) of features (n, depths, width), the mean over depths; 0 is a usual distance."""
        offsets = features - self.means
        along = np.einsum("nkw,krw->nkr", offsets, self.axes)
        left = (offsets**2).sum(-1) - (along**2).sum(-1)
        squares = (along**2 / self.variances).sum(-1) + np.maximum(left, 0) / self.noise
        return np.asarray(np.log(squares / self.means.shape[-1]).mean(-1) / 2)

    def save(self, path: Path) -> None:
        """Half-precision axes, everything else in float32; the numbers' meaning in the header."""
        arrays = {name: getattr(self, name).astype(np.float32) for name in ("means", "variances", "noise")}
        arrays |= {"axes": self.axes.astype(np.float16), "bound": np.array([self.bound, self.spread], np.float32)}
        path.parent.mkdir(parents=True, exist_ok=True)
        version, libraries, clip = self.made_for
        save_file(arrays, path, {"version": version, "libraries": libraries, "clip": clip})


def summarise(features: Floats, made_for: tuple[str, ...]) -> DomainSummary:
    """A summary of known pictures' features (n, depths, width).

    Every fourth is kept back, and the bound lies WIDER standard deviations above the mean of their log distances.

    Raises:
        ModelError: too few pictures.
    """
    if len(features) < LEAST:
        raise ModelError(f"{len(features)} pictures; {LEAST} are needed to say what models know")
    back = kept_back(len(features))
    parts = [principal(features[~back, depth]) for depth in range(features.shape[1])]
    means, axes, variances, noise = (np.stack([part[place] for part in parts]) for place in range(4))
    fitted = DomainSummary(means, axes, variances, noise, 0.0, 1.0, made_for)
    logs = fitted.distances(features[back])
    spread = max(LEAST_SPREAD, float(logs.std(ddof=1)))
    return DomainSummary(means, axes, variances, noise, float(logs.mean()) + WIDER * spread, spread, made_for)


def kept_back(count: int) -> npt.NDArray[np.bool_]:
    """Which of so many pictures no summary is made of."""
    return np.arange(count) % KEPT_BACK == KEPT_BACK - 1


def principal(rows: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, axes, their variances, and the mean variance of what is left over, of rows (n, width)."""
    mean = rows.mean(0)
    _, lengths, axes = np.linalg.svd(rows - mean, full_matrices=False)
    variances = lengths**2 / (len(rows) - 1)
    width, rank = rows.shape[1], min(RANK, len(variances))
    left = max(float(variances[rank:].sum()) / max(1, width - rank), 1e-6 * float(variances[0]))
    return mean, axes[:rank], np.maximum(variances[:rank], left), np.array(left)


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
            arrays = {name: opened.get_tensor(name).astype(np.float32) for name in opened.keys()}  # noqa: SIM118
        bound, spread = map(float, arrays.pop("bound"))
        made = facts["version"], facts["libraries"], facts["clip"]
        return DomainSummary(**arrays, bound=bound, spread=spread, made_for=made, sha=hash_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: no summary of what models know ({error}); make it again") from error


def load_viewer(models: Models) -> Viewer:
    """The profile's CLIP as what looks at pictures; loads it."""
    clip = models.clip()
    layers = clip.model.config.vision_config.num_hidden_layers
    depths = [round(share * layers) for share in DEPTHS]
    return lambda images: clip.read_patches(images, depths)
