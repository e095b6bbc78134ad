"""Where foreign pictures come from: drawn here, carried by packages that the project needs, or lying on this machine.

Nothing is downloaded, and no picture of others is committed. A source that is not at hand is left out, and said so.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.foreign_drawn import DRAWN, Draw
from harness.core.errors import ReferencesError
from harness.models.embeddings import open_file

EACH = 8  # pictures of a source
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "motorcycle_left", "clock_motion", "coins")
CLOSE = ("brick", "grass", "gravel", "cell", "ihc", "retina", "moon", "hubble_deep_field")  # textures and instruments


def drawn(draw: Draw, seed: int) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    return [draw(rng) for _ in range(EACH)]


def package(name: str) -> Path | None:
    """The folder of an installed package."""
    found = find_spec(name)
    return Path(found.origin).parent if found and found.origin else None


def opened(paths: Iterable[Path]) -> list[Image.Image]:
    """Those that can be read, as the harness reads them."""
    results = []
    for path in paths:
        try:
            results.append(open_file(path))
        except ReferencesError:
            continue
    return results


def spread(paths: Sequence[Path], count: int = EACH) -> list[Path]:
    """So many of them, evenly through the list."""
    return [paths[len(paths) * place // count] for place in range(min(count, len(paths)))]


def avatars() -> list[Image.Image]:
    """Busts as a package for avatars draws them, on white and on plain grounds; where it and a renderer are there."""
    if package("python_avatars") is None or package("resvg_py") is None:
        return []
    import random

    python_avatars, resvg_py = import_module("python_avatars"), import_module("resvg_py")
    random.seed(EACH)
    results = []
    for number in range(EACH):
        drawing = python_avatars.Avatar.random(style=python_avatars.AvatarStyle.TRANSPARENT).render()
        bust = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=drawing)))).convert("RGBA")
        ground = Image.new("RGBA", bust.size, ("white", "lightblue", "olive", "salmon")[number % 4])
        results.append(Image.alpha_composite(ground, bust).convert("RGB"))
    return results


def in_package(name: str, pattern: str, least: int = 0) -> Callable[[], list[Image.Image]]:
    """Some of the pictures of a package; none where it is not installed."""

    def find() -> list[Image.Image]:
        folder = package(name)
        files = sorted(folder.glob(pattern)) if folder else []
        return opened(spread([path for path in files if path.stat().st_size >= least]))

    return find


def skimage_named(names: Sequence[str]) -> Callable[[], list[Image.Image]]:
    def find() -> list[Image.Image]:
        folder = package("skimage")
        files = [path for name in names for path in (folder / "data").glob(f"{name}.*")] if folder else []
        return opened(path for path in files if path.suffix in (".png", ".jpg"))

    return find


def photo_crops() -> list[Image.Image]:
    """Parts of photographs: eyes, fur, a cup, a helmet."""
    rng, results = np.random.default_rng(5), []
    for picture in skimage_named(("astronaut", "chelsea", "coffee", "rocket"))():
        for _ in range(2):
            side = int(rng.uniform(0.25, 0.6) * min(picture.size))
            left, top = (int(rng.integers(0, length - side)) for length in picture.size)
            results.append(picture.crop((left, top, left + side, top + side)))
    return results


def small_faces() -> list[Image.Image]:
    """Photographed faces of 25 x 25 grey pixels, enlarged (LFW, as scikit-image carries it)."""
    folder = package("skimage")
    if folder is None:
        return []
    faces = np.load(folder / "data" / "lfw_subset.npy")[: 12 * EACH : 12]
    return [Image.fromarray((255 * face).astype(np.uint8)).convert("RGB").resize((200, 200)) for face in faces]


def portrait() -> list[Image.Image]:
    """The photographed portraits of an admiral and of an astronaut, cut as people cut them."""
    folder = package("matplotlib")
    paths = [folder / "mpl-data" / "sample_data" / "grace_hopper.jpg"] if folder else []
    results = []
    for picture in [*opened(paths), *skimage_named(("astronaut",))()]:
        width, height = picture.size
        for share in (1.0, 0.8, 0.6, 0.45):
            side = int(share * min(width, height))
            left = int(0.45 * (width - side))
            results.append(picture.crop((left, 0, left + side, side)))
    return results


def icons() -> list[Image.Image]:
    """Desktop icons, where this machine has any."""
    folder = Path("/usr/share/icons/Adwaita/96x96")
    return opened(spread(sorted(folder.glob("*/*.png")) if folder.is_dir() else []))


FOUND: Mapping[str, Callable[[], list[Image.Image]]] = {
    "skimage photographs": skimage_named(PHOTOGRAPHS),
    "skimage textures and instruments": skimage_named(CLOSE),
    "skimage pages": skimage_named(("page", "text", "horse", "phantom", "logo", "color", "microaneurysms")),
    "skimage photographs, parts": photo_crops,
    "skimage small faces": small_faces,
    "photographed portraits": portrait,
    "matplotlib pictures": in_package("matplotlib", "mpl-data/**/*.png", 400),
    "sklearn photographs": in_package("sklearn", "datasets/images/*.jpg"),
    "desktop icons": icons,
    "arcade people": in_package("arcade", "resources/assets/images/animated_characters/*/*_idle.png"),
    "arcade tiles": in_package("arcade", "resources/assets/images/tiles/*.png"),
    "arcade cards": in_package("arcade", "resources/assets/images/cards/*.png"),
    "arcade backgrounds": in_package("arcade", "resources/assets/images/backgrounds/*"),
    "arcade enemies": in_package("arcade", "resources/assets/images/enemies/*.png"),
    "gradio photographs": in_package("gradio", "media_assets/images/*.jp*g"),
    "pygame pictures": in_package("pygame", "examples/data/*.[pgj][nip][gf]"),
    "pygame pages": in_package("pygame", "docs/generated/_images/*.png", 4000),
    "avatars": avatars,
    "insightface faces": in_package("insightface", "data/images/*.*"),
}
"""Name to the pictures that a package or this machine carries; [] where it is not there."""


def sources() -> Iterator[tuple[str, list[Image.Image]]]:
    """Every source that is at hand, by name, with its pictures."""
    made = {name: (lambda draw=draw, name=name: drawn(draw, seed_of(name))) for name, draw in DRAWN.items()}
    for name, find in sorted({**made, **FOUND}.items()):
        pictures = find()
        if pictures:
            yield name, pictures


def seed_of(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)


KINDS: Mapping[str, tuple[str, ...]] = {
    "photographs": (
        "skimage photographs", "skimage photographs, parts", "skimage textures and instruments", "skimage small faces",
        "photographed portraits", "sklearn photographs", "gradio photographs", "insightface faces", "shaded_balls",
    ),
    "cartoons": (
        "animal", "paper_cut", "chibi", "arcade people", "arcade enemies", "pygame pictures", "avatars", "line_drawing",
    ),
    "graphics": (
        "geometry", "pattern", "pixel_art", "arcade cards", "arcade tiles", "arcade backgrounds", "desktop icons",
        "matplotlib pictures", "text_page", "plot", "skimage pages", "pygame pages",
    ),
    "computed": ("noise", "clouds", "gradient", "tiny", "fractal", "landscape"),
}  # fmt: skip
"""Sources of a kind, of which half are counted."""


def is_counted(name: str) -> bool:
    """Every second source of its kind, in the order of a hash of the names, so that nobody chose."""
    kind = next(names for names in KINDS.values() if name in names)
    return sorted(kind, key=lambda each: hashlib.sha256(each.encode()).digest()).index(name) % 2 == 1
