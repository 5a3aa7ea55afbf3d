"""Made-up stores of words in templates, with a planted valence and arousal direction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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
from emo_harness.axes import Axis

SHAPE = (2, 6)
LAYERS = 3


def made_table(n_words: int = 40, n_templates: int = 8) -> pd.DataFrame:
    """Words by turns in the four quadrants, every fifth neutral; every other template negates."""
    corners = [(1, 1), (1, -1), (-1, 1), (-1, -1), (0, 0)]
    rows = [
        {
            "word": f"word{w}",
            "lemma": f"word{w}",
            "list": "made",
            "valence": corners[w % 5][0],
            "arousal": corners[w % 5][1],
            "template": t,
            "template_text": f"{'Not ' if t % 2 else ''}{{}} in sentence {t}",
            "scenario": t // 2,
            "shape": f"shape{t // 4}",
            "negation": bool(t % 2),
        }
        for t in range(n_templates)
        for w in range(n_words)
    ]
    table = pd.DataFrame(rows)
    for name in ("valence", "arousal"):
        table[name] = table[name].astype("Int8")
    table["prompt"] = np.arange(len(table))
    table["n_tokens"] = 5 + table["template"] % 3
    table["token"] = table["n_tokens"] - 1
    return table


def directions(seed: int = 0) -> NDArray[np.float64]:
    """(2, LAYERS, dim) orthogonal directions of valence and arousal, nothing in layer 0."""
    rng = np.random.default_rng([seed, 1])
    found = np.zeros((2, LAYERS, int(np.prod(SHAPE))))
    for layer in range(1, LAYERS):
        found[:, layer] = np.linalg.qr(rng.standard_normal((found.shape[2], 2)))[0].T
    return found


def made_store(
    folder: Path,
    table: pd.DataFrame | None = None,
    signal: float = 3.0,
    seed: int = 0,
    name: str = "made/model",
    site: str = "value",
    **facts: Any,
) -> Activations:
    """Template offsets + targets . directions * signal / 2 + noise, in capture order."""
    table = made_table() if table is None else table
    rng = np.random.default_rng([seed, 2])
    table = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    turned = np.where(table["negation"], -1.0, 1.0)
    poles = table[["valence", "arousal"]].astype("Float64").fillna(0).to_numpy(np.float64)
    offsets = rng.standard_normal((int(table["template"].max()) + 1, LAYERS, 12)) * 4
    vectors = offsets[table["template"]] + rng.standard_normal((len(table), LAYERS, 12))
    vectors += np.einsum("nk,kld->nld", poles * turned[:, None], directions(seed)) * signal / 2
    # What a word is beyond its poles, alike in all models.
    own = np.random.default_rng(99).standard_normal((500, LAYERS, 12)) * 0.5
    number = table["word"].str.removeprefix("word").astype(int).to_numpy()
    vectors += own[number] * turned[:, None, None]
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / INDEX)
    cut = len(table) // 2
    shards = []
    for i, part in enumerate((vectors[:cut], vectors[cut:])):
        path = folder / f"shard-{i:05d}.safetensors"
        shape = (len(part), LAYERS, *SHAPE) if site in ("value", "key") else part.shape
        save_file({site: part.reshape(shape).astype(np.float32)}, path)
        shards.append(
            Shard(
                file=path.name,
                n_rows=len(part),
                n_bytes=path.stat().st_size,
                sha256=sha256_of(path),
            )
        )
    manifest = Manifest(
        model=model_facts(name, **facts),
        tokenizer="t",
        sites=[site],
        layers=list(range(LAYERS)),
        position="last",
        shapes={site: list(SHAPE) if site in ("value", "key") else [12]},
        dtype="float32",
        n_rows=len(table),
        shards=shards,
        corpus={
            "kind": "probing",
            "sha256": "made",
            "description": "made-up words",
            "dimensions": {"valence": {}, "arousal": {}},
        },
        versions={},
    )
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump()), "utf-8")
    return open_activations(folder)


def model_facts(name: str = "made/model", **facts: Any) -> ModelFacts:
    kept = {"model_type": "made", "dtype": "float32", "n_layers": LAYERS, "hidden_size": 12}
    return ModelFacts(**{"name": name, "vocabulary": 50, **kept, **facts})


def made_axes(seed: int = 0, signal: float = 3.0, **facts: Any) -> list[Axis]:
    """The planted directions as axes."""
    vectors = (directions(seed) * signal).astype(np.float32)
    zeros = np.zeros_like(vectors[0])
    told = {"model": model_facts().model_dump(), "method": "mean-difference", **facts}
    return [
        Axis(name, "value", tuple(range(LAYERS)), vectors[i], zeros, zeros + 1, told)
        for i, name in enumerate(("valence", "arousal"))
    ]


def made_results(dimension: str = "valence", n_layers: int = 4, n_heads: int = 3) -> pd.DataFrame:
    """An evaluation's results: accuracies rise with the layer, controls stay at chance."""
    common = {"dimension": dimension, "site": "value", "subset": "all", "statistic": "accuracy"}
    rows = []
    for features in ("raw", "centred"):
        for split, drop in (("E1", 0.05), ("E2", 0.1), ("E3", 0.0), ("E4", 0.15)):
            for layer in [*range(n_layers), None]:
                high = 0.55 + 0.1 * (n_layers if layer is None else layer) - drop
                rows.append(_result(common, features, "ridge", "probe", split, layer, None, high))
        for layer in range(n_layers):
            for head in range(n_heads):
                at = 0.5 + 0.05 * layer + 0.02 * head
                rows.append(_result(common, features, "lda", "probe", "E4", layer, head, at))
        for control in ("shuffled labels", "bag of words", "bag of words x negation"):
            for layer in [*range(n_layers), None]:
                at = 0.5 + 0.1 * ("x" in control)
                made = _result(common, features, control, "control", "E4", layer, None, at)
                rows.append({**made, "informative": control != "bag of words"})
    table = pd.DataFrame(rows)
    for name in ("layer", "head"):
        table[name] = table[name].astype("Int64")
    return table


def _result(
    common: dict[str, Any],
    features: str,
    method: str,
    kind: str,
    split: str,
    layer: int | None,
    head: int | None,
    accuracy: float,
) -> dict[str, Any]:
    return {
        **common,
        "features": features,
        "method": method,
        "kind": kind,
        "informative": True,
        "layer": layer,
        "head": head,
        "split": split,
        "accuracy": accuracy,
        "low": accuracy - 0.04,
        "high": accuracy + 0.04,
        "sd_over_seeds": 0.01,
        "n_prompts": 1000,
        "n_words": 40,
        "n_templates": 8,
        "n_seeds": 3,
        "converged": None,
    }
