"""Reference pictures: which there are, who may look at which, and what they say of the subject."""

from harness.scoring.references.loading import References, load_impostors, load_references, picture_files, set_hash
from harness.scoring.references.traits import TraitReading, extract_traits, read_category

__all__ = [
    "References",
    "TraitReading",
    "extract_traits",
    "load_impostors",
    "load_references",
    "picture_files",
    "read_category",
    "set_hash",
]
