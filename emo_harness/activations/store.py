"""Captured activations on disk: safetensors shards, a parquet index and a manifest.

    manifest.json          what was captured, from which model (`Manifest`)
    index.parquet          one row per captured vector, in the order of the shards' rows
    shard-00000.safetensors   one tensor per site, (n, n_layers, *shape)
    spans.safetensors      where prompts name spans: `embedding`, see `Activations.span_embeddings`

Reading maps the shards into memory, so that rows and layers cost only themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emo_harness.errors import UserError, quoted
from emo_harness.validation import Strict, validated

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
INDEX = "index.parquet"
SPANS = "spans.safetensors"
StoredDtype = Literal["float16", "bfloat16", "float32"]
Floats = NDArray[np.float32]

# What safetensors calls what is stored; bfloat16 is read as the upper half of a float32.
_STORED: dict[str, tuple[str, str]] = {
    "F16": ("float16", "<f2"),
    "BF16": ("bfloat16", "<u2"),
    "F32": ("float32", "<f4"),
}


class ModelFacts(Strict):
    """The model whose activations these are.

    Attributes:
        name: as the user gave it.
        revision: as the user gave it.
        identity: what stood behind the name ("content <sha256>" or "commit <id>"), if known.
        model_type: of its configuration.
        dtype: it was computed in.
        n_layers, hidden_size, vocabulary: of the language model.
    """

    name: str
    revision: str | None = None
    identity: str | None = None
    model_type: str
    dtype: str
    n_layers: int
    hidden_size: int
    vocabulary: int


class Shard(Strict):
    """One file of rows.

    Attributes:
        file: its name in the folder.
        n_rows: of each of its tensors.
        n_bytes: of the file.
        sha256: of the file.
    """

    file: str
    n_rows: int
    n_bytes: int
    sha256: str


class Manifest(Strict):
    """What a folder of activations holds.

    Attributes:
        sites, layers, position: what was captured, see `sites` and `positions`.
        shapes: by site, of one vector at one layer: `[n_kv_heads, head_dim]` or `[hidden_size]`.
        dtype: as stored.
        tokenizer: a hash of what the tokenizer is.
        corpus: facts about the prompts; "sha256" is of their content.
        versions: of the packages that computed it.
        beside: SHA-256 of the files beside the shards, by name.
    """

    schema_version: Literal[1] = 1
    model: ModelFacts
    tokenizer: str
    sites: list[str]
    layers: list[int]
    position: str
    shapes: dict[str, list[int]]
    dtype: StoredDtype
    n_rows: int
    shards: list[Shard]
    corpus: dict[str, Any]
    versions: dict[str, str]
    beside: dict[str, str] = Field(default_factory=dict)


class Activations:
    """A folder of captured activations; made by `open_activations`."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._first = np.cumsum([0, *(shard.n_rows for shard in manifest.shards)])

    @cached_property
    def index(self) -> pd.DataFrame:
        """(n_rows) rows; `prompt` is the ordinal of the prompt in its corpus.

        Raises:
            UserError: the file is damaged.
        """
        import pandas as pd

        try:
            found = pd.read_parquet(self.folder / INDEX)
        except (OSError, ValueError) as error:
            raise _broken(self.folder, INDEX, f"no index ({error})"[:200]) from error
        if len(found) != self.n_rows:
            raise _broken(self.folder, INDEX, f"{len(found):,} rows instead of {self.n_rows:,}")
        return found

    @property
    def n_rows(self) -> int:
        return self.manifest.n_rows

    def shape(self, site: str) -> tuple[int, ...]:
        """Of one vector at one layer of `site`.

        Raises:
            UserError: the site was not captured.
        """
        if site not in self.manifest.shapes:
            raise UserError(
                f"reading activations from {self.folder}",
                found=f"no site {site!r}",
                expected=f"one of {quoted(self.manifest.sites)}",
                fix="capture again with --sites, or name another site",
            )
        return tuple(self.manifest.shapes[site])

    def read(
        self,
        site: str,
        *,
        rows: NDArray[np.int64] | slice | None = None,
        layers: Sequence[int] | None = None,
    ) -> Floats:
        """Vectors of some rows and layers.

        Args:
            rows: which rows, in any order; all by default.
            layers: of the model; all captured by default.

        Returns:
            (n, n_layers, *shape) float32.
        """
        picked = np.arange(self.n_rows)[slice(None) if rows is None else rows]
        places = self._places(layers)
        found = np.empty((len(picked), len(places), *self.shape(site)), np.float32)
        shard_of = np.searchsorted(self._first, picked, side="right") - 1
        for number in np.unique(shard_of):
            into = np.flatnonzero(shard_of == number)
            stored = self._stored(int(number), site)
            taken = stored[np.ix_(picked[into] - self._first[number], places)]
            found[into] = _as_float32(taken)
        return found

    def blocks(
        self, site: str, n_rows: int = 2048, layers: Sequence[int] | None = None
    ) -> Iterator[tuple[slice, Floats]]:
        """All rows in order, `n_rows` at a time: which rows, and their vectors."""
        for first in range(0, self.n_rows, n_rows):
            rows = slice(first, min(first + n_rows, self.n_rows))
            yield rows, self.read(site, rows=rows, layers=layers)

    def span_embeddings(self) -> Floats | None:
        """The static embedding of each span; the index's `span_id` is a row of it.

        Returns:
            (n_spans, width) float32, the mean input embedding of a span's tokens; None where the
            prompts name no spans.

        Raises:
            UserError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.folder / SPANS
        if not path.is_file():
            return None
        try:
            return load_file(path)["embedding"]
        except (OSError, SafetensorError, KeyError) as error:
            raise _broken(self.folder, SPANS, f"no span embeddings ({error})") from error

    def verify(self) -> None:
        """Compare every shard with its hash.

        Raises:
            UserError: a shard is not what was captured.
        """
        for shard in self.manifest.shards:
            if sha256_of(self.folder / shard.file) != shard.sha256:
                raise _broken(self.folder, shard.file, "other content than was captured")

    def _places(self, layers: Sequence[int] | None) -> NDArray[np.int64]:
        captured = self.manifest.layers
        missing = [layer for layer in layers or () if layer not in captured]
        if missing:
            raise UserError(
                f"reading activations from {self.folder}",
                found=f"no layer {missing[0]}",
                expected=f"layers among {quoted(map(str, captured), 40)}",
                fix="capture again with --layers, or name other layers",
            )
        wanted = captured if layers is None else layers
        return np.array([captured.index(layer) for layer in wanted], np.int64)

    def _stored(self, number: int, site: str) -> NDArray[Any]:
        """One shard's tensor as it lies on disk, mapped into memory."""
        shard = self.manifest.shards[number]
        path = self.folder / shard.file
        header, after = _header(self.folder, path)
        entry = header[site]
        first, last = entry["data_offsets"]
        _, kind = _STORED[entry["dtype"]]
        flat = np.memmap(path, np.uint8, "r", offset=after + first, shape=(last - first,))
        return flat.view(kind).reshape(entry["shape"])


def open_activations(folder: Path) -> Activations:
    """Open captured activations.

    Raises:
        UserError: there are none, they are not complete, or a shard is damaged.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            f"opening activations in {folder}",
            found=f"no readable {MANIFEST} ({error.strerror})",
            expected="a folder that `emo probe capture` completed",
            fix="capture first; the same command again goes on with a capture that was cut short",
        ) from error
    except ValueError as error:
        raise _broken(folder, MANIFEST, f"no JSON ({error})") from error
    manifest = validated(Manifest, raw, f"reading {path}", "capture again into another folder")
    if not (folder / INDEX).is_file():
        raise _broken(folder, INDEX, "no such file")
    for name, sha256 in manifest.beside.items():
        if not (folder / name).is_file():
            raise _broken(folder, name, "no such file")
        if sha256_of(folder / name) != sha256:
            raise _broken(folder, name, "other content than was captured")
    for shard in manifest.shards:
        _check(folder, shard, manifest)
    return Activations(folder, manifest)


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(folder: Path, shard: Shard, manifest: Manifest) -> None:
    """Compare a shard's size and header with what the manifest says, without reading its data."""
    path = folder / shard.file
    if not path.is_file():
        raise _broken(folder, shard.file, "no such file")
    n_bytes = path.stat().st_size
    if n_bytes != shard.n_bytes:
        raise _broken(folder, shard.file, f"{n_bytes:,} bytes instead of {shard.n_bytes:,}")
    header, after = _header(folder, path)
    for site in manifest.sites:
        expected = [shard.n_rows, len(manifest.layers), *manifest.shapes[site]]
        entry = header.get(site, {})
        kind, _ = _STORED.get(entry.get("dtype", ""), ("", ""))
        if entry.get("shape") != expected or kind != manifest.dtype:
            raise _broken(folder, shard.file, f"another tensor {site!r} than the manifest says")
        if after + entry["data_offsets"][1] > n_bytes:
            raise _broken(folder, shard.file, f"tensor {site!r} beyond the end of the file")


def _header(folder: Path, path: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's header, and where its data begin (8 bytes of length, then JSON)."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("the header is longer than the file")
            return json.loads(file.read(length)), 8 + length
    except (OSError, ValueError) as error:
        raise _broken(folder, path.name, f"no safetensors header ({error})") from error


def _broken(folder: Path, name: str, found: str) -> UserError:
    return UserError(
        f"reading activations from {folder}",
        found=f"{name}: {found}",
        expected="the file as it was captured",
        fix=f"delete {name} and capture again with the same command: only what is missing is "
        "computed",
    )


def _as_float32(stored: NDArray[Any]) -> Floats:
    if stored.dtype == np.uint16:
        return (stored.astype(np.uint32) << 16).view(np.float32)
    if stored.dtype == np.float16:
        return _float16_values()[stored.view(np.uint16)]
    return stored.astype(np.float32)


@cache
def _float16_values() -> Floats:
    """(65536,) every float16 by its bits: numpy converts small ones four times slower than this."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
