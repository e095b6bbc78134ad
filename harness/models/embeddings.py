"""CLIP embeddings, each computed once: pictures by their hash, texts by their words."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from harness.core.arrays import Floats
from harness.core.errors import ReferencesError
from harness.core.values import digest, hash_file

if TYPE_CHECKING:
    from harness.store import Store

MOST_PIXELS = 100_000_000  # of one picture; more is a decompression bomb
PICTURE, BUNDLE = "clip_picture", "clip_bundle"  # kinds of arrays in the store


class Embedder(Protocol):
    """What turns pictures and texts into unit vectors (n, d), float32; `harness.models.loading.Clip` is one."""

    @property
    def logit_scale(self) -> float:
        """The factor on cosines before a softmax, as the checkpoint learned it."""
        ...

    def embed_images(self, images: Sequence[Image.Image]) -> Any: ...

    def embed_texts(self, texts: Sequence[str]) -> Any: ...


def open_picture(data: bytes, name: str = "the picture") -> Image.Image:
    """Encoded bytes upright and as RGB; transparency becomes white, because a model must see something there.

    Raises:
        ReferencesError: it is no picture, is cut off, or is a decompression bomb; the text begins with `name`.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels; {MOST_PIXELS:,} are the most")
            picture = ImageOps.exif_transpose(opened)
            if "A" in picture.getbands() or "transparency" in picture.info:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
            return picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ReferencesError(f"{name}: cannot be read as a picture ({why}); save it again or remove it") from error


def open_file(path: Path) -> Image.Image:
    """The same of a file, which the error names."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReferencesError(f"{path}: cannot be read ({error.strerror or error})") from error
    return open_picture(data, str(path))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture, from its header alone. Raises ReferencesError as `open_file` does."""
    try:
        with Image.open(path) as opened:
            return opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReferencesError(f"{path}: cannot be read as a picture ({error}); save it again or remove it") from error


def normalize(vectors: Floats) -> Floats:
    """Unit length along the last axis; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


class Embeddings:
    """Vectors from the store where it has them, else from the model, which is loaded only then."""

    def __init__(self, load: Callable[[], Embedder], store: Store, identity: str) -> None:
        self.load, self.store, self.identity = load, store, identity

    def images(self, pictures: Sequence[bytes]) -> Floats:
        """Unit vectors (n, d) of encoded pictures, in order; each is kept by its hash."""
        keys = [self._key(hashlib.sha256(data).hexdigest()) for data in pictures]
        results = {key: self.store.array(PICTURE, key) for key in dict.fromkeys(keys)}
        missing = {key: data for key, data in zip(keys, pictures, strict=True) if results[key] is None}
        if missing:
            vectors = self.load().embed_images([open_picture(data) for data in missing.values()])
            for key, vector in zip(missing, np.asarray(vectors, np.float32), strict=True):
                self.store.put_array(PICTURE, key, vector)
                results[key] = vector
        return np.stack([vector for key in keys if (vector := results[key]) is not None])

    def files(self, paths: Sequence[Path]) -> Floats:
        """Unit vectors (n, d) of a fixed set of pictures, in order; kept as one array."""
        return self._bundle([hash_file(path) for path in paths], lambda: self._embed_files(paths))

    def phrases(self, phrases: Sequence[str], templates: Sequence[str]) -> Floats:
        """One unit vector a phrase: its vectors in all templates averaged, then normalised; kept as one array."""
        prompts = [template.format(phrase) for phrase in phrases for template in templates]
        shape = (len(phrases), len(templates), -1)
        return self._bundle(
            [list(phrases), list(templates)],
            lambda: normalize(np.asarray(self.load().embed_texts(prompts), np.float32).reshape(shape).mean(1)),
        )

    @property
    def logit_scale(self) -> float:
        """The checkpoint's own, remembered so that a warm run loads nothing."""
        known = self.store.memo("clip_logit_scale", self.identity)
        if known is None:
            known = float(self.load().logit_scale)
            self.store.put_memo("clip_logit_scale", self.identity, known)
        return float(known)

    def _embed_files(self, paths: Sequence[Path]) -> Floats:
        return np.asarray(self.load().embed_images([open_file(path) for path in paths]), np.float32)

    def _bundle(self, name: Any, compute: Callable[[], Floats]) -> Floats:
        known = self.store.array(BUNDLE, self._key(name))
        if known is None:
            known = compute()
            self.store.put_array(BUNDLE, self._key(name), known)
        return known

    def _key(self, name: Any) -> str:
        return digest([self.identity, name])


def softmax(cosines: Floats, scale: float) -> Floats:
    """Probabilities over the last axis."""
    logits = scale * np.asarray(cosines, np.float64)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
