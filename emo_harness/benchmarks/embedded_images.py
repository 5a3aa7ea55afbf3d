"""Images of the questions themselves: kept beside the documents, which hold their names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emo_harness.errors import UserError
from emo_harness.image_file import decode_image

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image as PILImage

BENCHMARKS = ("mmmu_val",)
_COLUMN = re.compile(r"image_\d+")


@dataclass(frozen=True)
class Embedded:
    """The files of a data set's images, as they were embedded in it.

    Attributes:
        files: the SHA-256 (hex) of a file, which is the image's name, to its bytes.
    """

    files: dict[str, bytes] = field(repr=False)

    def image(self, name: object, asked: str) -> PILImage:
        """An image as upstream shows it: in the mode of its file, upright.

        Args:
            name: as the document has it.
            asked: the question, for messages.

        Raises:
            UserError: the question names an image that it has not, or one that is broken, of
                another format or larger than the budget.
        """
        if not isinstance(name, str) or name not in self.files:
            raise UserError(
                f"opening an image of {asked}",
                found="the place of an image that the question has not",
                expected="an image for each place",
                fix="leave the question out with --samples, or take the published data again",
            )
        doing = f"opening an image of {asked}"
        return decode_image(self.files[name], doing=doing, as_rgb=False)


def taken_out(questions: Dataset) -> tuple[Dataset, Embedded]:
    """Questions whose columns image_1, image_2 ... hold names, and the images by name.

    A document with an image in it has another hash in each process, since lm-eval hashes the
    text that Python shows of it; and logging it costs a PNG each time.

    Raises:
        UserError: an image that is not embedded, but lies elsewhere.
    """
    import datasets

    columns = [name for name in questions.column_names if _COLUMN.fullmatch(name)]
    for name in columns:
        if isinstance(questions.features[name], datasets.Image):
            questions = questions.cast_column(name, datasets.Image(decode=False))
    files: dict[str, bytes] = {}
    rows = []
    for row in questions:
        named: dict[str, Any] = dict(row)
        for column in columns:
            named[column] = _named(row[column], files, f"{column} of {row.get('id')}")
        rows.append(named)
    return datasets.Dataset.from_list(rows), Embedded(files)


def _named(embedded: object, files: dict[str, bytes], where: str) -> str | None:
    if embedded is None:
        return None
    content = embedded.get("bytes") if isinstance(embedded, dict) else None
    if not isinstance(content, bytes):
        raise UserError(
            f"reading {where}",
            found="an image that is not embedded in the data",
            expected="the bytes of its file, as on the hub",
            fix="take the published files again",
        )
    name = hashlib.sha256(content).hexdigest()
    files[name] = content
    return name
