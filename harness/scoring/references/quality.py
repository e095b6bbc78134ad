"""What one reference picture is like, measured without any model: size, sharpness, light, bars, place of the subject.

Everything is measured on the picture as the trainer will see it, or relative to its own size, so that the bounds are
the same for a 96 px drawing and a 24 megapixel photograph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import sobel

from harness.core.arrays import Floats
from harness.models.embeddings import open_file
from harness.scoring.references.duplicates import Fingerprint, take_fingerprint

SMALL = 256  # pixels of the longer side: where borders, subject and faces are looked for
LARGEST = 1024  # pixels: no sharpness is measured above it
TILES = 3  # a side; blur counts where the picture is sharpest, because a blurred background is no fault
LEAST_SPREAD = 0.04  # of grey levels: an empty tile is neither sharp nor blurred
BORDER = 0.02  # of a side: the thinnest bar that counts
PLAIN = 12.0  # levels of 255: how far the border of a plain background strays from its median
FAR = 30.0  # levels of 255 by which the subject differs from a plain background
FACE_SIDE = 24  # pixels: the smallest face that the cascade was trained on


@dataclass(frozen=True)
class Box:
    """A rectangle in shares of the picture's width and height, [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


@dataclass(frozen=True)
class ImageStatistics:
    """All that is measured of one picture."""

    path: Path
    split: str  # "train", "held_out" or ""
    width: int  # pixels, upright
    height: int
    enlarged: float  # by how much the trainer must enlarge it; at most 1: large enough
    lost: float  # share of the picture that the trainer's crop to its own shape cuts off
    blur: float  # [0, 1]: 0 sharp (Crete 2007), of the second sharpest ninth of the picture
    highlight: float  # [0, 1]: brightness that 1% of the pixels exceed
    burnt: float  # share of the middle that is pure white
    contrast: float  # [0, 1]: brightness between the darkest and the brightest 5%
    entropy: float  # bits of a histogram of 64 brightnesses, at most 6
    middle: float  # [0, 1]: brightness that a quarter of the middle exceeds
    rim: float  # [0, 1]: median brightness of the rim
    colour: float  # [0, 1]: mean saturation
    line: float  # share of the pixels on an edge
    flat: float  # share of neighbouring pixels that are equal: drawings have large flat parts, photographs none
    bars: tuple[str, ...]  # sides with a bar of one colour: ("left", "right")
    subject: Box | None  # where the background is plain: what is not background
    faces: tuple[Box, ...]  # photographed faces, seen from the front
    print: Fingerprint
    small: Image.Image  # RGB, at most SMALL pixels a side


def take_look(path: Path, split: str, size: tuple[int, int]) -> ImageStatistics:
    """Measure one picture.

    Args:
        size: width and height in pixels at which the trainer works.

    Raises:
        ReferencesError: it cannot be read.
    """
    picture = open_file(path)
    small = shrink_to(picture, SMALL)
    grey = np.asarray(small.convert("L"), np.float64) / 255
    pixels = np.asarray(small, np.float64)
    return ImageStatistics(
        path=path,
        split=split,
        width=picture.width,
        height=picture.height,
        enlarged=max(size[0] / picture.width, size[1] / picture.height),
        lost=lost_share(picture.size, size),
        blur=measure_blur(shrink_to(picture, min(LARGEST, max(size)))),
        **measure_light(grey, pixels),
        line=edge_share(grey),
        flat=float(np.mean(np.abs(np.diff(pixels, axis=1)).max(2) == 0)) if small.width > 1 else 1.0,
        bars=find_bars(pixels),
        subject=find_on_plain(pixels),
        faces=find_faces(small),
        print=take_fingerprint(path),
        small=small,
    )


def shrink_to(picture: Image.Image, side: int) -> Image.Image:
    """A copy whose longer side is at most that many pixels; nothing is enlarged."""
    copy = picture.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def lost_share(got: tuple[int, int], wanted: tuple[int, int]) -> float:
    """What a crop to another shape cuts off, as a share of the picture."""
    ratio = got[0] * wanted[1] / (got[1] * wanted[0])
    return 1 - min(ratio, 1 / ratio)


def measure_blur(picture: Image.Image) -> float:
    """Crete's blur of the second sharpest of nine tiles, [0, 1]; 0 where no tile has content to be blurred."""
    from skimage.measure import blur_effect

    grey = np.asarray(picture.convert("L"), np.float64) / 255
    rows, columns = (np.array_split(np.arange(side), TILES) for side in grey.shape)
    tiles = [grey[np.ix_(row, column)] for row in rows for column in columns]
    result = sorted(float(blur_effect(tile, h_size=5)) for tile in tiles if tile.size and tile.std() > LEAST_SPREAD)
    return result[min(1, len(result) - 1)] if result else 0.0


def measure_light(grey: Floats, pixels: Floats) -> dict[str, float]:
    """Highlights, burnt middle, contrast, entropy, middle against rim, saturation; see Look."""
    height, width = grey.shape
    inner = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    rim = np.ones(grey.shape, bool)
    rim[height // 8 : height - height // 8, width // 8 : width - width // 8] = False
    rim[height // 2 :] = False  # a portrait's shoulders are not the background
    rim |= not rim.any()  # of a few pixels everything is rim
    counts = np.histogram(grey, 64, (0, 1))[0] / grey.size
    filled = counts[counts > 0]
    top = pixels.max(2)
    low, high, highest = np.percentile(grey, [5, 95, 99])
    return {
        "highlight": float(highest),
        "burnt": float(np.mean(pixels[inner].min(2) >= 250)),
        "contrast": float(high - low),
        "entropy": abs(float((filled * np.log2(filled)).sum())),
        "middle": float(np.percentile(grey[inner], 75)),
        "rim": float(np.median(grey[rim])),
        "colour": float(np.mean((top - pixels.min(2)) / np.where(top > 0, top, 1))),
    }


def edge_share(grey: Floats) -> float:
    """Share of the pixels on an edge; a figure of the line work."""
    from skimage.filters import sobel

    return float(np.mean(sobel(grey) > 0.05))


def find_bars(pixels: Floats) -> tuple[str, ...]:
    """Opposite sides that bear a bar of the same colour with a sharp, straight end (letterbox, frame)."""
    results: list[str] = []
    for names, view in ((("top", "bottom"), pixels), (("left", "right"), pixels.transpose(1, 0, 2))):
        first, last = bar_depth(view), bar_depth(view[::-1])
        least = max(1, round(BORDER * len(view)))
        alike = np.abs(view[0].mean(0) - view[-1].mean(0)).max() < 16
        if first >= least and last >= least and alike:
            results += names
    return tuple(results)


def bar_depth(view: Floats) -> int:
    """Rows at the start that are one colour, when the row behind them differs nearly everywhere; else 0."""
    colour = np.median(view[0], axis=0)
    differs = np.abs(view - colour).max(2) > 12
    share = differs.mean(1)
    inside = np.flatnonzero(share > 0.02)
    depth = int(inside[0]) if len(inside) else len(view)
    if not 0 < depth < len(view) // 2:
        return 0
    return depth if share[depth : depth + 3].max() > 0.6 else 0  # JPEG smears the end over a row or two


def find_on_plain(pixels: Floats) -> Box | None:
    """The box of what differs from a plain background, or None where the background is not plain.

    The upper rim decides: a bust's shoulders cross the lower one.
    """
    height, width = pixels.shape[:2]
    deep = max(1, round(0.03 * min(height, width)))
    half = height // 2
    rim = np.concatenate([part.reshape(-1, 3) for part in (pixels[:deep], pixels[:half, :deep], pixels[:half, -deep:])])
    colour = np.median(rim, axis=0)
    if float(np.mean(np.abs(rim - colour).max(1) > PLAIN)) > 0.25:
        return None
    mask = np.abs(pixels - colour).max(2) > FAR
    rows, columns = mask.mean(1) > 0.01, mask.mean(0) > 0.01
    if not rows.any() or not columns.any():
        return None
    top, bottom = np.flatnonzero(rows)[[0, -1]]
    left, right = np.flatnonzero(columns)[[0, -1]]
    return Box(float(left / width), float(top / height), float((right + 1) / width), float((bottom + 1) / height))


@cache
def face_cascade() -> Any:
    """OpenCV's LBP cascade of frontal faces, which scikit-image carries: nothing is downloaded."""
    from skimage import data
    from skimage.feature import Cascade

    return Cascade(data.lbp_frontal_face_cascade_filename())


def find_faces(small: Image.Image) -> tuple[Box, ...]:
    """Photographed faces seen from the front, the largest first; drawn ones are mostly missed."""
    scale = max(1.0, 192 / max(small.size))  # a face of a small picture would be under the cascade's own size
    picture = small.resize((round(small.width * scale), round(small.height * scale)), Image.Resampling.BICUBIC)
    width, height = picture.size
    if min(width, height) <= FACE_SIDE:
        return ()
    result = face_cascade().detect_multi_scale(
        img=np.asarray(picture),
        scale_factor=1.2,
        step_ratio=1,
        min_size=(FACE_SIDE, FACE_SIDE),
        max_size=(min(width, height),) * 2,
        min_neighbor_number=4,
    )
    boxes = [
        Box(f["c"] / width, f["r"] / height, (f["c"] + f["width"]) / width, (f["r"] + f["height"]) / height)
        for f in result
    ]
    return tuple(sorted(boxes, key=lambda box: -box.area))


def face_light(look: ImageStatistics, face: Box) -> float:
    """Median brightness of a face, [0, 1]."""
    grey = np.asarray(look.small.convert("L"), np.float64) / 255
    height, width = grey.shape
    rows = slice(int(face.top * height), max(int(face.top * height) + 1, int(face.bottom * height)))
    columns = slice(int(face.left * width), max(int(face.left * width) + 1, int(face.right * width)))
    return float(np.median(grey[rows, columns]))


@dataclass(frozen=True)
class PictureFault:
    """What is wrong with one picture."""

    kind: str
    severity: str  # "serious", "warn" or "note"
    reason: str  # with the figure and the bound
    value: float
    bound: float


@dataclass(frozen=True)
class Bound:
    """One figure of Look with its two bounds; `over`: larger is worse."""

    kind: str
    warn: float
    serious: float
    over: bool
    sentence: str  # with {value} and {bound}
    read: Callable[[ImageStatistics], float]

    def judge(self, look: ImageStatistics) -> PictureFault | None:
        value = self.read(look)
        beyond = value.__gt__ if self.over else value.__lt__
        if not beyond(self.warn):
            return None
        severity, bound = ("serious", self.serious) if beyond(self.serious) else ("warn", self.warn)
        return PictureFault(self.kind, severity, self.sentence.format(value=value, bound=bound), value, bound)


BOUNDS: tuple[Bound, ...] = (
    Bound(
        "too_small", 1.02, 1.5, True, "must be enlarged {value:.2f} times (at most {bound:g})",
        lambda look: look.enlarged,
    ),
    Bound(
        "aspect",
        0.45,
        0.75,
        True,
        "{value:.0%} of it is cut off by the crop to the training shape (at most {bound:.0%})",
        lambda look: look.lost,
    ),
    Bound("blur", 0.66, 0.8, True, "blur {value:.2f} where it is sharpest (at most {bound:g})", lambda look: look.blur),
    Bound(
        "dark", 0.4, 0.25, False, "brightest parts at {value:.0%} (at least {bound:.0%})", lambda look: look.highlight
    ),
    Bound(
        "over_exposed", 0.3, 0.6, True, "{value:.0%} of the middle is pure white (at most {bound:.0%})",
        lambda look: look.burnt,
    ),
    Bound(
        "low_contrast", 0.2, 0.08, False, "brightness spans {value:.0%} (at least {bound:.0%})",
        lambda look: look.contrast,
    ),
    Bound(
        "low_information", 1.0, 0.3, False, "{value:.1f} bits of brightness (at least {bound:g})",
        lambda look: look.entropy,
    ),
)  # fmt: skip

LEAST_SUBJECT = 0.12  # of the picture that the subject's box must fill
LEAST_FACE = 0.10  # of the picture's shorter side that the face must span
SECOND_FACE = 0.5  # of the first one's height: a smaller one is a passer-by or an error of the cascade


def judge_look(look: ImageStatistics) -> list[PictureFault]:
    """What the figures of one picture say against it; nothing about faces."""
    faults = [fault for bound in BOUNDS if (fault := bound.judge(look))]
    kinds = {fault.kind for fault in faults}
    if "low_information" in kinds:  # a blank picture is not blurred or flat besides
        faults = [fault for fault in faults if fault.kind not in ("blur", "low_contrast")]
    if "too_small" in kinds:  # it is soft because it is small
        faults = [fault for fault in faults if fault.kind != "blur" or fault.severity == "serious"]
    if look.bars:
        sides = " and ".join(look.bars)
        faults.append(PictureFault("borders", "serious", f"a bar of one colour at {sides}", float(len(look.bars)), 0.0))
    frame = judge_frame(look)
    if frame:  # a speck on a plain ground is no empty picture
        faults = [fault for fault in faults if fault.kind != "low_information"]
    return faults + frame + judge_backlight(look)


def judge_backlight(look: ImageStatistics) -> list[PictureFault]:
    """A subject darker than its surroundings by so much that it is a silhouette."""
    gap = look.rim - look.middle
    if look.middle > 0.2 or gap < 0.4 or look.bars:
        return []
    return [
        PictureFault(
            "backlit", "warn", f"the middle is at {look.middle:.0%} brightness, its surroundings at {look.rim:.0%}",
            gap, 0.4,
        )
    ]  # fmt: skip


def judge_frame(look: ImageStatistics) -> list[PictureFault]:
    """The subject's size and place, where a plain background shows it."""
    box = look.subject
    if box is None or look.bars:
        return []
    if box.area < LEAST_SUBJECT:
        reason = f"the subject fills {box.area:.0%} of the picture (at least {LEAST_SUBJECT:.0%})"
        return [PictureFault("small_subject", "warn", reason, box.area, LEAST_SUBJECT)]
    return []


def judge_faces(look: ImageStatistics) -> list[PictureFault]:
    """What the faces say against a picture of a set in which faces are found."""
    if not look.faces:
        return [
            PictureFault(
                "face_hidden", "warn", "no face is seen from the front: turned away, covered or in shadow", 0.0, 1.0
            )
        ]
    face, faults = look.faces[0], []
    others = sum(other.height >= SECOND_FACE * face.height for other in look.faces[1:])
    if others:
        faults.append(PictureFault("several_people", "warn", f"{1 + others} faces (1 expected)", 1.0 + others, 1.0))
    span = face.height * look.height / min(look.width, look.height)
    if span < LEAST_FACE:
        reason = f"the face spans {span:.0%} of the shorter side (at least {LEAST_FACE:.0%})"
        faults.append(PictureFault("small_subject", "warn", reason, span, LEAST_FACE))
    if min(face.left, face.top, 1 - face.right, 1 - face.bottom) <= 0.005:
        faults.append(PictureFault("cut_off", "warn", "the face touches the edge of the picture", 0.0, 0.005))
    light = face_light(look, face)
    if light < 0.2:
        faults.append(
            PictureFault("face_shadowed", "warn", f"the face is at {light:.0%} brightness (at least 20%)", light, 0.2)
        )
    return faults


def repeated_corner(looks: Sequence[ImageStatistics]) -> Mapping[str, float]:
    """Corners in which most pictures show the same fine content, with how alike it is, (0, 1]: a watermark.

    In each corner the edges of all pictures are correlated with their median: what belongs to one picture alone
    cancels out (after Dekel 2017). Nothing is said of fewer than five pictures.
    """
    if len(looks) < LEAST_MARKED:
        return {}
    results = {}
    for name in CORNERS:
        patches = np.stack([corner_edges(look.small, name) for look in looks])
        median = np.median(patches, axis=0)
        drawn = np.abs(median) > MARK_EDGE
        if drawn.mean() < MARK_SHARE:
            continue
        alike = [correlation(patch[drawn], median[drawn]) for patch in patches]
        if (value := float(np.median(alike))) > MARK_ALIKE:
            results[name] = value
    return results


CORNERS = ("top left", "top right", "bottom left", "bottom right")
LEAST_MARKED = 5  # pictures: fewer agree by chance
CORNER = 0.3  # of the shorter side
MARK_EDGE = 8.0  # levels: an edge that a median over pictures keeps
MARK_SHARE = 0.03  # of a corner that must be such edges
MARK_ALIKE = 0.7  # correlation of a picture's edges with the median's


def corner_edges(small: Image.Image, name: str) -> Floats:
    """Signed edges of one corner at 48 x 48, both directions: (2, 48, 48)."""
    side = max(1, round(CORNER * min(small.size)))
    left = 0 if "left" in name else small.width - side
    top = 0 if "top" in name else small.height - side
    patch = small.crop((left, top, left + side, top + side)).convert("L").resize((48, 48), Image.Resampling.LANCZOS)
    values = np.asarray(patch, np.float64)
    return np.stack([sobel(values, 0), sobel(values, 1)]) / 4


def correlation(a: Floats, b: Floats) -> float:
    """Cosine of two edge fields; 0 where one is empty."""
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / length) if length else 0.0
