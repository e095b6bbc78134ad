"""`harness references prepare`: pictures cropped, padded and resized as the trainer wants them, into another folder.

The originals are only read. Every output is a plain RGB PNG, upright, in sRGB, without metadata. The same call again
finds nothing to do: `prepared.json` says from which bytes and with which options each picture was made.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image, ImageCms
from scipy.ndimage import gaussian_filter, sobel

from harness.core.arrays import Floats
from harness.core.errors import ReferencesError, UsageError
from harness.core.files import write_file
from harness.core.values import digest, hash_file, to_record
from harness.models.embeddings import open_file
from harness.scoring.references.gather import Gathered
from harness.scoring.references.quality import SMALL, Box, bar_depth, find_bars, find_faces, find_on_plain, shrink_to

CROPS = ("none", "centre", "subject")
MANIFEST = "prepared.json"
VERSION = 1  # of what is done to a picture: raise it, and pictures are made anew
PADDING = 0.1  # of the subject's size, on every side
ENERGY = 0.94  # of the salient energy that the subject's box holds in each direction
CALM = 0.75  # a box of a larger share of the picture is no finding: the subject fills it
LONGEST = 2.0  # width to height of the widest bucket, and height to width of the tallest

Size = tuple[int, int]  # width and height, pixels


@dataclass(frozen=True)
class PrepareOptions:
    """How pictures are made ready. All of it is part of the manifest."""

    crop: str = "subject"  # "none": everything stays, padded; "centre": the middle; "subject": what stands out
    size: Size = (1024, 1024)  # of the training
    buckets: bool = False  # other shapes of the same area as well; without it every picture gets `size`
    padding: float = PADDING

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise UsageError(f"--crop {self.crop}: choose {', '.join(CROPS)}")
        if not 0 <= self.padding <= 1:
            raise UsageError(f"--padding {self.padding:g}: a share of the subject's size, 0 to 1")


@dataclass(frozen=True)
class PreparedReference:
    """What was done to one picture."""

    source: str  # relative to the folder it came from
    target: str  # relative to the folder it went to
    state: str  # "made", "unchanged" or "failed"
    steps: tuple[str, ...]  # in words, in order
    size: Size = (0, 0)


def bucket_sizes(size: Size, step: int | None = None) -> tuple[Size, ...]:
    """Shapes of about the same area as `size`, from 1:2 to 2:1, in steps of 64 pixels (8 for small models)."""
    step = step or (64 if min(size) >= 512 else 8)
    area = size[0] * size[1]
    results = {size}
    for width in range(step, 2 * max(size) + 1, step):
        height = max(step, int(area / width) // step * step)
        if 1 / LONGEST <= width / height <= LONGEST:
            results.add((width, height))
    return tuple(sorted(results))


def nearest_bucket(shape: Size, buckets: Sequence[Size]) -> Size:
    """The bucket whose ratio of sides is nearest; of equal ones the larger."""
    ratio = np.log(shape[0] / shape[1])
    return min(buckets, key=lambda size: (round(abs(float(np.log(size[0] / size[1]) - ratio)), 6), -size[0] * size[1]))


# --- where the subject is -----------------------------------------------------------------------------------------


def find_subject(picture: Image.Image) -> Box | None:
    """The box of what stands out, without a model; None: nothing does, or nearly everything.

    A face seen from the front is followed down to the chest. On a plain background the subject is what is not
    background. Elsewhere edges and distance from the rim's colours are summed up, a little more in the middle.
    """
    small = shrink_to(picture, SMALL)
    pixels = np.asarray(small, np.float64)
    box = find_on_plain(pixels) or salient_box(salience(pixels))
    for face in find_faces(small)[:1]:
        around = Box(
            max(0.0, face.left - face.width), max(0.0, face.top - 0.6 * face.height),
            min(1.0, face.right + face.width), min(1.0, face.bottom + 1.2 * face.height),
        )  # fmt: skip
        box = around if box.area > CALM else join(box, around)
    return None if box.area > CALM else box


def join(one: Box, two: Box) -> Box:
    """The smallest box around both."""
    return Box(
        min(one.left, two.left), min(one.top, two.top), max(one.right, two.right), max(one.bottom, two.bottom)
    )  # fmt: skip


def salience(pixels: Floats) -> Floats:
    """How much each pixel stands out, at least 0."""
    height, width = pixels.shape[:2]
    grey = gaussian_filter(pixels.mean(2), 1)
    edges = np.hypot(sobel(grey, 0), sobel(grey, 1))
    deep = max(1, round(0.05 * min(height, width)))
    rim = np.concatenate([part.reshape(-1, 3) for part in (pixels[:deep], pixels[:, :deep], pixels[:, -deep:])])
    tones = np.quantile(rim, (0.1, 0.5, 0.9), axis=0)
    apart = np.min([np.abs(pixels - tone).max(2) for tone in tones], axis=0)
    both = edges / max(float(edges.mean()), 1e-6) + apart / max(float(apart.mean()), 1e-6)
    y, x = np.mgrid[0:height, 0:width]
    middle = np.exp(-(((x / width - 0.5) / 0.5) ** 2 + ((y / height - 0.5) / 0.5) ** 2) / 2)
    smooth = gaussian_filter(both * middle, 0.02 * max(height, width))
    return np.maximum(0, smooth - np.quantile(smooth, 0.3))


def salient_box(energy: Floats) -> Box:
    """The box that holds most of the energy in both directions; the whole where there is none."""
    sides = []
    for axis in (0, 1):
        line = energy.sum(axis)
        if line.sum() <= 0:
            return Box(0.0, 0.0, 1.0, 1.0)
        climb = np.cumsum(line) / line.sum()
        low, high = np.searchsorted(climb, [(1 - ENERGY) / 2, (1 + ENERGY) / 2])
        sides.append((float(low / len(line)), float(min(1.0, (high + 1) / len(line)))))
    (left, right), (top, bottom) = sides
    return Box(left, top, right, bottom)


# --- one picture --------------------------------------------------------------------------------------------------


def prepare_picture(picture: Image.Image, options: PrepareOptions) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture as the trainer wants it, and what was done to it."""
    picture, steps = cut_bars(picture)
    buckets = bucket_sizes(options.size) if options.buckets else (options.size,)
    box = find_subject(picture) if options.crop == "subject" else None
    if options.crop == "none":
        size = nearest_bucket(picture.size, buckets)
        done, more = pad_to(picture, size)
        return done, (*steps, *more)
    if box is None:
        if options.crop == "subject":
            steps.append("the subject fills the picture: the middle is kept")
        size = nearest_bucket(picture.size, buckets)
        frame = cover_frame(picture.size, size)
    else:
        wanted = padded_frame(picture.size, box, options.padding)
        size = nearest_bucket((wanted[2] - wanted[0], wanted[3] - wanted[1]), buckets)
        frame = shaped_frame(picture.size, wanted, size)
        whole = cover_frame(picture.size, size)
        if area(frame) > CALM * area(whole):  # a cut of a few pixels costs sharpness and gains nothing
            frame = whole
    cut = picture.crop(frame)
    if cut.size != picture.size:
        kept = cut.width * cut.height / (picture.width * picture.height)
        steps.append(f"cropped to {cut.width}x{cut.height} at {frame[0]},{frame[1]} ({kept:.0%} of it)")
    done, more = pad_to(cut, size)
    return done, (*steps, *more)


def cut_bars(picture: Image.Image) -> tuple[Image.Image, list[str]]:
    """Without bars of one colour at opposite sides."""
    pixels = np.asarray(picture, np.float64)
    bars = find_bars(pixels)
    if not bars:
        return picture, []
    turned = pixels.transpose(1, 0, 2)
    top, bottom = (bar_depth(pixels), bar_depth(pixels[::-1])) if "top" in bars else (0, 0)
    left, right = (bar_depth(turned), bar_depth(turned[::-1])) if "left" in bars else (0, 0)
    inner = picture.crop((left, top, picture.width - right, picture.height - bottom))
    return inner, [f"bars cut off at {' and '.join(bars)}"]


def cover_frame(shape: Size, size: Size) -> tuple[int, int, int, int]:
    """The largest middle part of the shape of `size`."""
    scale = min(shape[0] / size[0], shape[1] / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (shape[0] - width) // 2, (shape[1] - height) // 2
    return left, top, left + width, top + height


def area(frame: tuple[int, int, int, int]) -> int:
    """Of a frame, square pixels."""
    return (frame[2] - frame[0]) * (frame[3] - frame[1])


def padded_frame(shape: Size, box: Box, padding: float) -> tuple[int, int, int, int]:
    """The box with room around it, in pixels, inside the picture."""
    x, y = padding * box.width, padding * box.height
    left, right = max(0.0, box.left - x), min(1.0, box.right + x)
    top, bottom = max(0.0, box.top - y), min(1.0, box.bottom + y)
    return round(left * shape[0]), round(top * shape[1]), round(right * shape[0]), round(bottom * shape[1])


def shaped_frame(shape: Size, wanted: tuple[int, int, int, int], size: Size) -> tuple[int, int, int, int]:
    """The smallest frame of the shape of `size` around `wanted`, moved inside; as large as the picture at most.

    Where the picture is too short for the shape, the frame is the picture's whole length, and the rest is padded.
    """
    width, height = wanted[2] - wanted[0], wanted[3] - wanted[1]
    ratio = size[0] / size[1]
    full_width = min(shape[0], max(width, round(height * ratio)))
    full_height = min(shape[1], max(height, round(width / ratio)))
    left = min(max(0, (wanted[0] + wanted[2] - full_width) // 2), shape[0] - full_width)
    top = min(max(0, (wanted[1] + wanted[3] - full_height) // 2), shape[1] - full_height)
    return left, top, left + full_width, top + full_height


def pad_to(picture: Image.Image, size: Size) -> tuple[Image.Image, list[str]]:
    """Resized to fit into `size`, the rest filled with the colour of the picture's own rim."""
    scale = min(size[0] / picture.width, size[1] / picture.height)
    inner = (min(size[0], max(1, round(picture.width * scale))), min(size[1], max(1, round(picture.height * scale))))
    if size[0] - inner[0] <= 1 and size[1] - inner[1] <= 1:
        inner = size  # a pixel of padding would be a line
    steps = []
    if inner != picture.size:
        word = "enlarged" if scale > 1 else "reduced"
        steps.append(f"{word} {scale if scale > 1 else 1 / scale:.2f} times to {inner[0]}x{inner[1]}")
    resized = picture.resize(inner, Image.Resampling.LANCZOS)
    if inner == size:
        return resized, steps
    canvas = Image.new("RGB", size, rim_colour(resized))
    canvas.paste(resized, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas, [*steps, f"padded to {size[0]}x{size[1]}"]


def rim_colour(picture: Image.Image) -> tuple[int, int, int]:
    """The median colour of the outermost pixels."""
    pixels = np.asarray(picture)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(rim, axis=0))
    return red, green, blue


def to_srgb(path: Path) -> tuple[Image.Image, list[str]]:
    """A picture upright, RGB and in sRGB, and what had to be done for that.

    Raises:
        ReferencesError: it cannot be read.
    """
    picture, steps = open_file(path), []
    with Image.open(path) as opened:
        if opened.getexif().get(274, 1) != 1:
            steps.append("turned upright")
        if opened.mode not in ("RGB", "L"):
            steps.append(f"{opened.mode} made RGB")
        profile = opened.info.get("icc_profile")
        if profile and opened.mode == "RGB":
            try:
                source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
                converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"))
            except ImageCms.PyCMSError:
                steps.append("colour profile unreadable, dropped")
            else:
                picture = converted or picture
                steps.append("colours made sRGB")
    return picture, steps


# --- a folder -----------------------------------------------------------------------------------------------------


def prepare_references(gathered: Gathered, into: Path, options: PrepareOptions) -> Iterator[PreparedReference]:
    """Make every picture ready, one after another; a killed call goes on where it was.

    Raises:
        UsageError: `into` is where the originals are, or holds files that this command did not make.
    """
    refuse_originals(gathered, into)
    known = read_manifest(into)
    plan = plan_targets(gathered)
    strange = [name for name in plan.values() if (into / name).exists() and name not in known]
    if strange:
        raise UsageError(f"{into / strange[0]} is there and was not made by this command; choose another --into")
    for path, target in plan.items():
        made_from = digest([VERSION, hash_file(path), caption_of(path), to_record(options)])
        entry = known.get(target)
        whole = entry and (into / target).is_file() and hash_file(into / target) == entry.get("sha256")
        if entry and whole and entry.get("made_from") == made_from:
            width, height = entry["size"]
            yield PreparedReference(gathered.label(path), target, "unchanged", (), (width, height))
            continue
        done, sha = make_one(gathered, path, into / target, target, options)
        if done.state == "made":
            known[target] = {"made_from": made_from, "sha256": sha, "source": done.source, "size": list(done.size)}
            write_manifest(into, known)
        yield done


def make_one(
    gathered: Gathered, path: Path, file: Path, target: str, options: PrepareOptions
) -> tuple[PreparedReference, str]:
    """One picture and its caption, written; a picture that cannot be read is told of. The SHA-256 of the result."""
    try:
        picture, steps = to_srgb(path)
    except ReferencesError as error:
        return PreparedReference(gathered.label(path), target, "failed", (str(error),)), ""
    made, more = prepare_picture(picture, options)
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    made.save(buffer, "PNG")
    file.write_bytes(buffer.getvalue())
    caption = caption_of(path)
    if caption:
        file.with_suffix(".txt").write_text(caption, encoding="utf-8")
        more = (*more, "caption carried along")
    return PreparedReference(gathered.label(path), target, "made", (*steps, *more), made.size), hash_file(file)


def caption_of(path: Path) -> str:
    """The text beside a picture, as it is; "" without one."""
    text = path.with_suffix(".txt")
    return text.read_text(encoding="utf-8") if text.is_file() else ""


def plan_targets(gathered: Gathered) -> dict[Path, str]:
    """Picture to the name of its PNG, split and all; two of one stem get a number."""
    results: dict[Path, str] = {}
    used: set[str] = set()
    for path, split in gathered.pictures.items():
        stem, number = path.stem, 2
        while f"{split}/{stem}".casefold() in used:
            stem, number = f"{path.stem}-{number}", number + 1
        used.add(f"{split}/{stem}".casefold())
        results[path] = f"{split}/{stem}.png" if split else f"{stem}.png"
    return results


def refuse_originals(gathered: Gathered, into: Path) -> None:
    """Originals are never in reach of a write.

    Raises:
        UsageError: `into` is their folder, inside it, or around it.
    """
    there, source = into.resolve(), gathered.folder.resolve()
    if there == source or there.is_relative_to(source) or source.is_relative_to(there):
        raise UsageError(f"--into {into}: lies in or around {source}; originals are never overwritten")


class MadePicture(TypedDict):
    """What the manifest says of a picture that was made here."""

    made_from: str  # a hash of the original, its caption and the options
    sha256: str
    source: str
    size: list[int]  # pixels: width, height


def read_manifest(into: Path) -> dict[str, MadePicture]:
    """What an earlier call made; {} without one.

    Raises:
        UsageError: the file is not ours.
    """
    path = into / MANIFEST
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        pictures: dict[str, MadePicture] = dict(record["pictures"])
        if not all(isinstance(entry, dict) for entry in pictures.values()):
            raise TypeError("an entry is no object")
        return pictures
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); remove it and the pictures beside it") from error


def write_manifest(into: Path, known: dict[str, MadePicture]) -> None:
    """Replaced in one step, so that a kill leaves the old one or the new one."""
    record = json.dumps({"version": VERSION, "pictures": known}, indent=1, sort_keys=True)
    write_file(into / MANIFEST, record + "\n")
