"""What stands beside the shards of a store: index, span embeddings and manifest."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import ValidationError

from emo_harness import __version__
from emo_harness.activations.plan import Plan
from emo_harness.activations.shards import not_written
from emo_harness.activations.store import INDEX, MANIFEST, SPANS, Manifest, Shard
from emo_harness.prefix import Tokens
from emo_harness.whole_file import Writer, text_writer, write_whole

if TYPE_CHECKING:
    from emo_harness.activations.loading import LoadedModel
    from emo_harness.activations.prompt_rows import PromptRows

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def manifest_of(
    loaded: LoadedModel, plan: Plan, shards: Sequence[Shard], corpus_facts: Mapping[str, Any]
) -> Manifest:
    """The manifest of a complete store."""
    return Manifest(
        model=loaded.facts,
        tokenizer=plan.tokenizer,
        sites=plan.sites,
        layers=plan.layers,
        position=plan.position,
        shapes=plan.shapes,
        dtype=plan.dtype,
        n_rows=plan.ends[-1],
        shards=list(shards),
        corpus={"sha256": plan.prompts, **corpus_facts},
        versions={
            "emo_harness": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    )


def write_rest(folder: Path, loaded: LoadedModel, rows: PromptRows, manifest: Manifest) -> None:
    """Write index, span embeddings and, last of all, the manifest.

    Raises:
        UserError: the disk is full, or cannot be written.
    """
    spans, _ = rows.encoded.distinct_spans()
    writers: dict[str, Writer] = {
        INDEX: lambda path: rows.index().to_parquet(path, index=False, compression="zstd")
    }
    if spans:
        writers[SPANS] = lambda path: path.write_bytes(_embedded(loaded.model, spans))
    writers[MANIFEST] = text_writer(manifest.model_dump_json(indent=1))
    for name, write in writers.items():
        try:
            write_whole(folder / name, write)
        except OSError as error:
            raise not_written(folder, name, "the index and the manifest", error) from error


def manifest_in(folder: Path) -> Manifest | None:
    """The manifest of a folder; None where there is none yet, or none that can be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def is_complete(folder: Path, shards: Sequence[Shard], n_rows: int, *, has_spans: bool) -> bool:
    """Whether everything beside these shards is there and belongs to them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    manifest = manifest_in(folder)
    try:
        n_indexed = pq.read_metadata(folder / INDEX).num_rows
    except (OSError, pa.ArrowException):
        return False
    spans_there = (folder / SPANS).is_file() or not has_spans
    return (
        manifest is not None
        and manifest.shards == list(shards)
        and n_indexed == n_rows
        and spans_there
    )


def _embedded(model: Any, spans: Sequence[Tokens]) -> bytes:
    """(n_spans, width) float32: the mean input embedding of each span's tokens."""
    from safetensors.torch import save

    embeddings = model.get_input_embeddings()
    means = []
    with torch.no_grad():
        for tokens in spans:
            ids = torch.from_numpy(tokens.astype(np.int64)).to(embeddings.weight.device)
            means.append(embeddings(ids).float().mean(dim=0).cpu())
    return save({"embedding": torch.stack(means)})
