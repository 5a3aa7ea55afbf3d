"""Visual stimuli: image sets, how they are made, and how they are checked."""

from emo_harness.image_file import open_image, pixels_sha256
from emo_harness.images.image_entry import Drawn, Generated, ImageEntry, Imported, Norms
from emo_harness.images.image_set import (
    ARM_PREFIX,
    MANIFEST,
    ImageSet,
    load_image_set,
    manifest_line,
    shipped_sets,
    write_manifest,
)

__all__ = [
    "ARM_PREFIX",
    "MANIFEST",
    "Drawn",
    "Generated",
    "ImageEntry",
    "ImageSet",
    "Imported",
    "Norms",
    "load_image_set",
    "manifest_line",
    "open_image",
    "pixels_sha256",
    "shipped_sets",
    "write_manifest",
]
