"""Made-up activations with a known truth, in the format of a capture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from emo_harness.activations.store import (
    INDEX,
    MANIFEST,
    Activations,
    Manifest,
    ModelFacts,
    Shard,
    open_activations,
    sha256_of,
)


def made_prompts(
    n_words: int = 40,
    n_templates: int = 24,
    *,
    dimensions: Sequence[str] = ("valence",),
    n_neutral: int = 0,
    n_shapes: int = 12,
) -> pd.DataFrame:
    """Words by templates: words alternate in valence, in twos in arousal; every second template
    negates; every two words share a lemma within a pole."""
    rows = []
    for template in range(n_templates):
        negates = template % 2 == 1
        for word in range(n_words + n_neutral):
            neutral = word >= n_words
            poles = {
                "valence": 0 if neutral else 1 - 2 * (word % 2),
                "arousal": 0 if neutral else 1 - 2 * (word // 2 % 2),
            }
            text = f"They {'do not ' if negates else ''}feel {{}} at place{template} and"
            rows.append(
                {
                    "text": text.format(f"word{word}"),
                    "word": f"word{word}",
                    "lemma": f"lemma{word // 4}-{word % 2}",
                    "template": template,
                    "template_text": text,
                    "scenario": template // 2,
                    "shape": f"shape{template % n_shapes}",
                    "negation": negates,
                    "list": "made",
                    **{name: poles[name] for name in dimensions},
                }
            )
    table = pd.DataFrame(rows)
    for name in dimensions:
        table[name] = table[name].astype("Int8")
    return table


def made_activations(
    prompts: pd.DataFrame,
    *,
    n_layers: int = 4,
    n_heads: int = 2,
    head_dim: int = 6,
    strength: float = 2.0,
    additive: float = 1.0,
    offset: float = 3.0,
    noise: float = 1.0,
    first: int = 2,
    seed: int = 0,
) -> np.ndarray:
    """(n, n_layers, n_heads, head_dim) float32.

    From layer `first` on, pole XOR negation is added along one direction per dimension; below it
    the pole and the negation are there each by itself (`additive`), which no linear probe can put
    together. Every template has its own offset, every word its own place.
    """
    rng = np.random.default_rng(seed)
    n_words, n_templates = prompts["word"].nunique(), prompts["template"].nunique()
    width = (n_layers, n_heads, head_dim)
    word = pd.factorize(prompts["word"])[0]
    template = prompts["template"].to_numpy()
    sign = np.where(prompts["negation"], -1.0, 1.0)
    values = noise * rng.standard_normal((len(prompts), *width))
    values += 0.5 * rng.standard_normal((n_words, *width))[word]
    values += offset * rng.standard_normal((n_templates, *width))[template]
    values += additive * sign[:, None, None, None] * rng.standard_normal(width)
    for name in ("valence", "arousal"):
        if name in prompts:
            pole = prompts[name].fillna(0).to_numpy(float)
            values += additive * pole[:, None, None, None] * rng.standard_normal(width)
            direction = rng.standard_normal(width)
            direction /= np.linalg.norm(direction, axis=(1, 2), keepdims=True)
            direction[:first] = 0
            values += strength * (pole * sign)[:, None, None, None] * direction
    return values.astype(np.float32)


def made_store(
    folder: Path,
    prompts: pd.DataFrame,
    values: np.ndarray,
    *,
    dtype: str = "float32",
    order: np.ndarray | None = None,
    embeddings: bool = True,
    seed: int = 0,
) -> Activations:
    """Write activations (n, n_layers, n_heads, head_dim) of the site "value" as a capture does.

    Args:
        order: of the rows; shuffled by default, as captures are not in the corpus's order.
    """
    rng = np.random.default_rng(seed)
    n = len(prompts)
    order = rng.permutation(n) if order is None else order
    folder.mkdir(parents=True, exist_ok=True)
    index = prompts.drop(columns=["text"]).copy()
    index["prompt"] = np.arange(n)
    codes, spellings = pd.factorize(prompts["word"])
    index["n_tokens"] = prompts["text"].str.split().str.len() + codes % 3
    index["span_tokens"] = pd.array(1 + codes % 3, dtype="Int64")
    index["span_id"] = pd.array(codes, dtype="Int64")
    index["token"] = index["n_tokens"] - 1
    index.iloc[order].reset_index(drop=True).to_parquet(folder / INDEX)
    stored = values[order].astype(dtype)
    shards = []
    for number, block in enumerate(np.array_split(stored, 3)):
        path = folder / f"shard-{number:05d}.safetensors"
        save_file({"value": np.ascontiguousarray(block)}, path)
        shards.append(
            Shard(
                file=path.name,
                n_rows=len(block),
                n_bytes=path.stat().st_size,
                sha256=sha256_of(path),
            )
        )
    if embeddings:
        drawn = np.random.default_rng(99).standard_normal((len(spellings), 16)).astype(np.float32)
        save_file({"embedding": drawn}, folder / "spans.safetensors")
    names = [name for name in ("valence", "arousal") if name in prompts]
    manifest = Manifest(
        model=ModelFacts(
            name="made",
            model_type="made",
            dtype="float32",
            n_layers=values.shape[1],
            hidden_size=16,
            vocabulary=100,
        ),
        tokenizer="made",
        sites=["value"],
        layers=list(range(values.shape[1])),
        position="last",
        shapes={"value": list(values.shape[2:])},
        dtype=dtype,  # type: ignore[arg-type]
        n_rows=n,
        shards=shards,
        corpus={
            "kind": "probing",
            "sha256": "made",
            "dimensions": {name: {"high": "high", "low": "low", "first": "high"} for name in names},
            "description": "made-up activations",
        },
        versions={},
    )
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump()), "utf-8")
    return open_activations(folder)
