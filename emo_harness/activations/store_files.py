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
from emo_harness.activations.store import (
    INDEX,
    MANIFEST,
    SPANS,
    Manifest,
    Shard,
    sha256_of,
)
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
    beside: dict[str, str] = {}
    for name, write in writers.items():
        _write(folder, name, write)
        beside[name] = sha256_of(folder / name)
    whole = manifest.model_copy(update={"beside": beside})
    _write(folder, MANIFEST, text_writer(whole.model_dump_json(indent=1)))


def _write(folder: Path, name: str, write: Writer) -> None:
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


def is_complete(folder: Path, shards: Sequence[Shard]) -> bool:
    """Whether everything beside these shards is there and belongs to them."""
    manifest = manifest_in(folder)
    if manifest is None or manifest.shards != list(shards) or INDEX not in manifest.beside:
        return False
    return all(
        (folder / name).is_file() and sha256_of(folder / name) == sha256
        for name, sha256 in manifest.beside.items()
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
