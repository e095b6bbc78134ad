"""Planted encoders, each good or poor by truth: is it told which of them a suite may be gated by?

Truth is how surely an encoder tells fresh pictures of a person from those of twins (the same description, other marks)
and of others. What it is told by is what every suite has, references, the cohort and redrawn references, and the rule
is the harness's own: it sees who is shown, and d' of its scale is enough.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude

from benchmarks.abroad_people import Newcomer, newcomer, reader, suite_of
from benchmarks.abroad_runs import Studio
from benchmarks.abroad_table import save_record
from harness.core.arrays import Floats
from harness.core.stats.calibration import LEAST_D, Sight, area_under_curve, sight_of
from harness.models.embeddings import Embedder, normalize, open_file, open_picture
from harness.scoring.metrics.clip import separation_from
from harness.world.people import Person, random_marks, random_person, random_scene
from harness.world.reader import to_array, to_pixels
from harness.world.render import render

PEOPLE = (0, 1, 2)  # who have marks
FRESH = 60  # pictures of the person, of twins and of others
GOOD, POOR = 0.9, 0.8  # AUC from which an encoder is good, against both; below which it is poor, against either
Pictures = Sequence[Image.Image]
Encoder = Callable[[Pictures], Floats]


def pixels_at(pictures: Pictures, side: int) -> Floats:
    """(n, side, side, 3), 0 to 1."""
    return np.stack([np.asarray(p.resize((side, side), Image.Resampling.BOX), np.float32) / 255 for p in pictures])


def six_pixels(pictures: Pictures) -> Floats:
    rows = pixels_at(pictures, 6).reshape(len(pictures), -1) - 0.5
    return np.asarray(rows)


def projected(pictures: Pictures) -> Floats:
    """Pixels through one random matrix."""
    rows = pixels_at(pictures, 32).reshape(len(pictures), -1) - 0.5
    return np.asarray(rows @ np.random.default_rng(1).normal(size=(rows.shape[1], 64)))


def histogram(pictures: Pictures) -> Floats:
    """How often each of 64 colours occurs."""
    bins = (pixels_at(pictures, 48) * 3.999).astype(int)
    codes = (bins[..., 0] * 16 + bins[..., 1] * 4 + bins[..., 2]).reshape(len(pictures), -1)
    return np.stack([np.bincount(row, minlength=64) / len(row) for row in codes]).astype(np.float32)


def edge_strength(pictures: Pictures) -> Floats:
    """How sharp edges are, wherever they are: levels of the gradient as a histogram."""
    greys = [np.asarray(p.convert("L").resize((96, 96)), np.float32) for p in pictures]
    each = [np.histogram(gaussian_gradient_magnitude(grey, 1), 24, (0, 60))[0] for grey in greys]
    return np.stack(each).astype(np.float32)


def style_alone(pictures: Pictures) -> Floats:
    """How saturated, light and outlined a picture is: what tells a pastel from a comic."""
    rows = []
    for picture in pictures:
        hsv = np.asarray(picture.convert("HSV").resize((48, 48)), np.float32) / 255
        dark = (np.asarray(picture.convert("L").resize((96, 96))) < 40).mean()
        rows.append([*np.histogram(hsv[..., 1], 8, (0, 1))[0] / 2304, *np.histogram(hsv[..., 2], 8, (0, 1))[0] / 2304,
                     4 * dark])  # fmt: skip
    return np.array(rows, np.float32)


def untrained(pictures: Pictures) -> Floats:
    """A small convolutional network whose weights nobody trained."""
    torch.manual_seed(3)
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 96)):
        layers += [torch.nn.Conv2d(before, after, 3, 2, 1), torch.nn.ReLU()]
    body = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(96, 64))
    with torch.inference_mode():
        return np.asarray(body(to_pixels(to_array(list(pictures)))).numpy())


def read_features(pictures: Pictures) -> Floats:
    """The last features of a network that was taught to read marks: the best that an encoder could see."""
    with torch.inference_mode():
        return np.asarray(reader().body(to_pixels(to_array(list(pictures))) * 4 - 2).numpy())


def hashed(pictures: Pictures) -> Floats:
    """Chance, the same for the same picture."""
    seeds = [int.from_bytes(hashlib.sha256(picture.tobytes()).digest()[:8], "big") for picture in pictures]
    return np.stack([np.random.default_rng(seed).normal(size=64) for seed in seeds]).astype(np.float32)


def clothes(picture: Image.Image) -> Image.Image:
    return picture.crop((0, round(0.72 * picture.height), picture.width, picture.height))


def face(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((round(0.25 * width), round(0.25 * height), round(0.75 * width), round(0.7 * height)))


def background(picture: Image.Image) -> Image.Image:
    """The middle grey, so that nobody is there."""
    width, height = picture.size
    shown = picture.copy()
    shown.paste((128, 128, 128), (round(0.08 * width), round(0.1 * height), round(0.92 * width), height))
    return shown


def colourless(picture: Image.Image) -> Image.Image:
    return picture.convert("L").convert("RGB")


def encoders(clip: Embedder) -> dict[str, Encoder]:
    """By name; those of CLIP see a part of the picture, or lose what it saw."""

    def seen(change: Callable[[Image.Image], Image.Image]) -> Encoder:
        return lambda pictures: np.asarray(clip.embed_images([change(picture) for picture in pictures]))

    def shuffled(pictures: Pictures) -> Floats:
        """Each picture's numbers in an order of their own."""
        vectors = np.asarray(clip.embed_images(list(pictures)))
        orders = [np.random.default_rng(abs(int(1e6 * row[0]))).permutation(len(row)) for row in vectors]
        return np.stack([row[order] for row, order in zip(vectors, orders, strict=True)])

    return {
        "CLIP": seen(lambda picture: picture),
        "features of the reader": read_features,
        "CLIP, clothes alone": seen(clothes),
        "CLIP, face alone": seen(face),
        "CLIP without colours": seen(colourless),
        "CLIP, background alone": seen(background),
        "CLIP, shuffled": shuffled,
        "six by six pixels": six_pixels,
        "random projection": projected,
        "colour histogram": histogram,
        "edge strength": edge_strength,
        "style alone": style_alone,
        "random weights": untrained,
        "a hash": hashed,
    }


# --- what is measured -------------------------------------------------------------------------------------------------


def fresh(person: Person, seed: int, other: Callable[[np.random.Generator], Person] | None = None) -> list[Image.Image]:
    """New pictures of somebody, or of as many others."""
    rng = np.random.default_rng(seed)
    people = [other(rng) if other else person for _ in range(FRESH)]
    return [render(each, random_scene(rng), int(rng.integers(2**31))) for each in people]


def pictures_of(studio: Studio, who: Newcomer) -> dict[str, list[Image.Image]]:
    """Everything that encoders are shown of one person: what a suite has, and the truth."""
    suite = suite_of(who, studio.folder(who.number), ("good",))
    scorer = studio.scorer(suite)
    cohort, references = scorer.draw_cohort(), scorer.references

    def stored(shas: Sequence[str]) -> list[Image.Image]:
        return [open_picture(studio.store.image(sha)) for sha in shas]

    def twin(rng: np.random.Generator) -> Person:
        return random_marks(replace(who.person, skin=int(rng.integers(3))), rng)

    return {
        "held_out": [open_file(path) for path in references.held_out],
        "genuine": [open_file(path) for path in references.train],
        "strangers": stored(cohort.strangers),
        "lookalikes": stored(cohort.lookalikes),
        **{f"redrawn {strength:g}": stored(shas) for strength, shas in cohort.redrawn.items()},
        "fresh": fresh(who.person, who.seed + 1),
        "twins": fresh(who.person, who.seed + 2, twin),
        "others": fresh(who.person, who.seed + 3, random_person),
    }


def measure_encoders(studio: Studio, numbers: Sequence[int] = PEOPLE) -> list[dict[str, Any]]:
    """Each encoder's similarities to the held-out references, by person and group; kept in the work folder."""
    found: list[dict[str, Any]] = []
    for number in numbers:
        kept = studio.work / "encoders" / f"{number:02}.json"
        if not kept.exists():
            save_record(measure_person(studio, number), kept)
        found += json.loads(kept.read_text(encoding="utf-8"))
    return found


def measure_person(studio: Studio, number: int) -> list[dict[str, Any]]:
    """All encoders before one person."""
    pictures, rows = pictures_of(studio, newcomer(number)), []
    for name, encode in encoders(studio.models.clip()).items():
        vectors = {group: normalize(np.asarray(encode(some), np.float64)) for group, some in pictures.items()}
        held = vectors.pop("held_out")
        near = {group: [round(float(s), 6) for s in (some @ held.T).mean(1)] for group, some in vectors.items()}
        rows.append({"encoder": name, "person": number, "similarities": near})
    return rows


@dataclass(frozen=True)
class Told:
    """One encoder before one person: what fresh pictures say, and what a suite is told."""

    encoder: str
    twins: float  # AUC of fresh pictures of the person against those of twins
    others: float
    sight: Sight
    d_prime: float  # of the references against the nearest of the cohort

    @property
    def gates(self) -> bool:
        """Whether a suite is gated by it."""
        return self.sight.sees and self.d_prime >= LEAST_D

    @property
    def good(self) -> bool | None:
        """None: neither good nor poor."""
        if min(self.twins, self.others) >= GOOD:
            return True
        return False if min(self.twins, self.others) < POOR else None

    @property
    def dangerous(self) -> bool:
        """Gated by though poor."""
        return self.good is False and self.gates

    @property
    def too_careful(self) -> bool:
        """Called blind though good."""
        return self.good is True and not self.gates


def tell(row: Mapping[str, Any]) -> Told:
    """By the rule of today."""
    near = {group: np.array(values) for group, values in row["similarities"].items()}
    walk = {float(group.split()[1]): values for group, values in near.items() if group.startswith("redrawn ")}
    sight = sight_of(walk, near["genuine"], near["strangers"], near["lookalikes"])
    groups = {"strangers": near["strangers"], "redrawn references": walk[max(walk)]}
    groups |= {} if sight.enough else {"lookalikes": near["lookalikes"]}
    scale, _ = separation_from(near["genuine"], groups)
    twins, others = (area_under_curve(near["fresh"], near[group]) for group in ("twins", "others"))
    return Told(row["encoder"], twins, others, sight, scale.d_prime)


def judge_encoders(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many are told as truth tells them, with a line for each."""
    told: dict[str, list[Told]] = {}
    for row in rows:
        told.setdefault(row["encoder"], []).append(tell(row))
    print(f"{'encoder':26}{'AUC twins':>15}{'others':>15}  {'truth':12}{'told at least':>15}{'d prime':>15}  gates")
    right = dangerous = careful = 0
    for name, each in told.items():
        known = [one for one in each if one.good is not None]
        wrong = [one for one in known if one.dangerous or one.too_careful]
        dangerous += any(one.dangerous for one in each)
        careful += sum(one.too_careful for one in each) > len(each) / 2
        right += not any(one.dangerous for one in each) and len(wrong) <= len(each) / 2
        print(encoder_line(name, each))
    return {
        "encoders": len(told),
        "encoders_right": right,
        "encoders_dangerous": dangerous,
        "encoders_blind_though_good": careful,
    }


def encoder_line(name: str, each: Sequence[Told]) -> str:
    words = {True: "good", False: "poor", None: "between"}
    truth = "/".join(dict.fromkeys(words[one.good] for one in each))
    spans = [
        f"{min(values):.2f} to {max(values):.2f}"
        for values in zip(*((one.twins, one.others, one.sight.told, one.d_prime) for one in each), strict=True)
    ]
    gates = f"{sum(one.gates for one in each)} of {len(each)}"
    return f"{name:26}{spans[0]:>15}{spans[1]:>15}  {truth:12}{spans[2]:>15}{spans[3]:>15}  {gates}"
