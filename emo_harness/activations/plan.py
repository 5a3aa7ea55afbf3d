"""The plan of a capture: what is captured and how it is cut into shards.

It lies in the store's folder from the beginning, so that the same command goes on where an earlier
one ended, and another command is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from emo_harness.activations.store import INDEX, MANIFEST, StoredDtype
from emo_harness.errors import UserError, quoted
from emo_harness.validation import Strict, read_json
from emo_harness.whole_file import text_writer, write_whole

if TYPE_CHECKING:
    import torch

PLAN = "plan.json"
SHARDS = "shard-*.safetensors"
SHARD_ROWS = 2048
SHARD_BYTES = 64 << 20
# Values of each weight that tell one model from another where no file does.
SAMPLED_VALUES = 256


class Plan(Strict):
    """What a capture makes.

    Attributes:
        model: what the model is, as far as its activations depend on it.
        tokenizer: a hash of what the tokenizer is.
        prompts: a hash of the table of prompts, facts included.
        sites, layers, position, dtype: what is captured.
        shapes: by site, of one vector at one layer.
        ends: of each shard, the row after its last.
    """

    schema_version: Literal[1] = 1
    model: str
    tokenizer: str
    prompts: str
    sites: list[str]
    layers: list[int]
    position: str
    dtype: StoredDtype
    shapes: dict[str, list[int]]
    ends: list[int]

    @property
    def sha256(self) -> str:
        """Of the whole plan."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def row_bytes(self) -> int:
        """Of one row, over all sites and layers."""
        return row_bytes(self.shapes, len(self.layers), self.dtype)

    def rows(self, shard: int) -> slice:
        """The rows of a shard."""
        return slice(self.ends[shard - 1] if shard else 0, self.ends[shard])

    def n_rows(self, shard: int) -> int:
        """How many rows a shard has."""
        rows = self.rows(shard)
        return int(rows.stop - rows.start)

    def file(self, shard: int) -> str:
        """The name of a shard's file."""
        return f"shard-{shard:05d}.safetensors"


# All but the shards: equal in these, a capture can be gone on with.
_FIXED = tuple(name for name in Plan.model_fields if name != "ends")


def settled(plan: Plan, folder: Path) -> Plan:
    """The plan that a folder is filled by: this one, put there if there is none yet.

    Returns:
        The plan as it lies there: with the shards that it was begun with.

    Raises:
        UserError: another capture is there, or the folder cannot be written.
    """
    doing = f"capturing activations into {folder}"
    path = folder / PLAN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(folder, doing)
        there = _read(path) if path.exists() else None
        if there is None or (not _same(plan, there) and not any(folder.glob(SHARDS))):
            # Nothing is lost with a plan of which nothing was made.
            write_whole(path, text_writer(plan.model_dump_json(indent=1)))
            there = _read(path)
    except OSError as error:
        raise UserError(
            doing,
            found=f"{error.strerror or error}",
            expected="a folder that can be written",
            fix="choose another --out",
        ) from error
    if not _same(plan, there):
        names = [n for n in _FIXED if getattr(plan, n) != getattr(there, n)]
        told = [f"{name}: {_short(there, name)}, not {_short(plan, name)}" for name in names]
        raise UserError(
            doing,
            found=f"another capture ({'; '.join(told)})",
            expected="an empty folder, or a capture of the same plan to go on with",
            fix="choose another --out, or delete that folder",
        )
    return there


def shard_ends(group_ends: Sequence[int], bytes_of_row: int) -> list[int]:
    """Where shards end: so many rows or bytes at most, but what belongs together stays so.

    Args:
        group_ends: of each group of rows that belong together, the row after its last.
        bytes_of_row: see `row_bytes`.
    """
    most = max(1, min(SHARD_ROWS, SHARD_BYTES // bytes_of_row))
    ends: list[int] = []
    first = before = 0
    for end in group_ends:
        if end - first > most and before > first:
            ends.append(before)
            first = before
        before = end
    return [*ends, before]


def row_bytes(shapes: dict[str, list[int]], n_layers: int, dtype: str) -> int:
    """Bytes of one row, over all sites and layers."""
    itemsize = 4 if dtype == "float32" else 2
    return sum(int(np.prod(shape)) for shape in shapes.values()) * n_layers * itemsize


def prompts_sha256(prompts: pd.DataFrame) -> str:
    """A hash of a table of prompts: texts, spans and facts, in their order."""
    digest = hashlib.sha256()
    for column in sorted(map(str, prompts.columns)):
        values = [None if _is_missing(value) else str(value) for value in prompts[column]]
        digest.update(json.dumps([column, values]).encode())
    return digest.hexdigest()


def weights_id(model: torch.nn.Module) -> str:
    """A hash of some values of every weight: what a model is that came from no file."""
    digest = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        flat = weights.detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLED_VALUES)]
        digest.update(f"{name} {tuple(weights.shape)}".encode())
        digest.update(some.float().cpu().numpy().tobytes())
    return f"weights {digest.hexdigest()}"


def _is_missing(value: object) -> bool:
    # A fact may be a list, of which pandas tells nothing in one word.
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))  # type: ignore[call-overload]


def _read(path: Path) -> Plan:
    fix = "delete the folder, or choose another --out"
    return read_json(Plan, path, "the plan of this capture", fix)


def _same(plan: Plan, other: Plan) -> bool:
    """Whether two plans make the same rows, however they are cut into shards."""
    return all(getattr(plan, name) == getattr(other, name) for name in _FIXED)


def _refuse_strangers(folder: Path, doing: str) -> None:
    """A folder with a store but no plan is not ours to write into."""
    if (folder / PLAN).exists():
        return
    names = [path.name for path in folder.iterdir()]
    strange = [n for n in names if n in (MANIFEST, INDEX) or n.endswith(".safetensors")]
    if strange:
        raise UserError(
            doing,
            found=f"{quoted(sorted(strange), 3)} but no {PLAN}",
            expected="an empty folder, or a capture of the same plan to go on with",
            fix="choose another --out",
        )


def _short(plan: Plan, name: str) -> str:
    text = str(getattr(plan, name))
    return text if len(text) <= 40 else f"{text[:37]}..."
