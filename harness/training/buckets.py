"""Which shape a picture is trained at, and which parts of it: buckets of one area, cuts, mirrored cuts, masks.

Buckets as in kohya's sd-scripts (`library/model_util.py`, make_bucket_resolutions): one area, sides in steps. SDXL is
told of each cut by six numbers (arXiv 2307.01952, section 2.2): the original height and width, the cut's top and left
in the scaled picture, and the height and width that it is trained at.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps
from PIL import Image as Pillow

from harness.core.errors import ReferencesError
from harness.core.values import digest
from harness.models.lora.train_config import TrainConfig

Size = tuple[int, int]
"""Width and height, pixels."""
WIDEST = 4.0  # sides of a bucket are at most 1 to 4, as in SDXL's own training
ZOOM = 1.15  # the most that a cut beside the first is enlarged, so that it has room to move
MASK = ".mask.png"  # beside NAME.png lies NAME.mask.png: white is learnt


@dataclass(frozen=True, eq=False)
class Cut:
    """One view of a picture, as the model will see it."""

    image: Image.Image  # RGB
    ids: tuple[int, int, int, int, int, int]  # original height and width, top and left, trained height and width
    mask: Image.Image | None  # grey, as large as the image; None: all of it counts
    room: int  # pixels to the left and right of the cut together


def make_buckets(size: Size, step: int) -> tuple[Size, ...]:
    """All sizes of about the area of `size` with sides in multiples of `step`, narrow to wide; `size` included."""
    area = size[0] * size[1]
    least = max(1, math.ceil(math.sqrt(area / WIDEST) / step)) * step
    short_sides = range(least, int(math.sqrt(area)) + 1, step)
    pairs = [(short, area // short // step * step) for short in short_sides]
    results = {size, *pairs, *((long, short) for short, long in pairs)}
    return tuple(sorted(results, key=lambda each: each[0] / each[1]))


def choose_bucket(image: Size, buckets: tuple[Size, ...]) -> Size:
    """The bucket whose shape is nearest, in the logarithm: 1 to 2 is as far from square as 2 to 1."""
    shape = math.log(image[0] / image[1])
    return min(buckets, key=lambda each: abs(math.log(each[0] / each[1]) - shape))


def make_cuts(path: Path, config: TrainConfig, size: Size) -> list[Cut]:
    """Every view of a picture that is trained on, all of one size, the same for the same file name and seed.

    Args:
        size: of the profile: the size itself, or with buckets the area.
    """
    with Pillow.open(path) as opened:
        whole = ImageOps.exif_transpose(opened)
        mask = read_mask(path, whole) if config.background_weight < 1 else None
        image = on_white(whole)
    if config.buckets:
        size = choose_bucket(image.size, make_buckets(size, config.bucket_step))
    chance = random.Random(digest([config.seed, path.name]))
    places = [(1.0, 0.5, 0.5)]
    places += [(chance.uniform(1.0, ZOOM), chance.random(), chance.random()) for _ in range(config.crops - 1)]
    cuts = [cut(image, mask, size, *place) for place in places]
    return [*cuts, *(mirror(each) for each in cuts)] if config.flip else cuts


def on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white."""
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_mask(path: Path, image: Image.Image) -> Image.Image | None:
    """The grey picture NAME.mask.png, else the alpha channel, else None. Raises ReferencesError when sizes differ."""
    beside = path.with_name(path.stem + MASK)
    if beside.is_file():
        with Pillow.open(beside) as opened:
            mask = opened.convert("L")
        if mask.size != image.size:
            raise ReferencesError(f"{beside}: {mask.size} pixels, the picture has {image.size}; make them equal")
        return mask
    return image.convert("RGBA").getchannel("A") if "A" in image.getbands() else None


def cut(
    image: Image.Image, mask: Image.Image | None, size: Size, zoom: float = 1.0, across: float = 0.5, down: float = 0.5
) -> Cut:
    """Scale a picture to cover `size` (times `zoom`) and cut a part out.

    Args:
        across, down: where the part lies in the room that there is, 0 left or top to 1.
    """
    width, height = size
    scale = zoom * max(width / image.width, height / image.height)
    scaled = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    left, top = int((scaled[0] - width) * across), int((scaled[1] - height) * down)
    box = (left, top, left + width, top + height)

    def part(whole: Image.Image) -> Image.Image:
        resized = whole if scaled == whole.size else whole.resize(scaled, Pillow.Resampling.LANCZOS)
        return resized.crop(box)

    ids = (image.height, image.width, top, left, height, width)
    return Cut(part(image), ids, part(mask) if mask is not None else None, scaled[0] - width)


def mirror(each: Cut) -> Cut:
    """The same cut of the mirrored picture, told by where it lies in that one."""
    ids = (*each.ids[:3], each.room - each.ids[3], *each.ids[4:])
    return Cut(
        ImageOps.mirror(each.image), ids, ImageOps.mirror(each.mask) if each.mask is not None else None, each.room
    )
